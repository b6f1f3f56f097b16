"""Row-level security binds every role but three kinds: with one of those the control plane refuses to start."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from api.database import SYSTEM_ROLE
from api.organizations.repository import DatabaseRole, look_at_role
from api.settings import SettingsError

_HOW = "docs/tenancy.md has the SQL that makes the right one"


async def refuse_unbound_role(session: AsyncSession) -> None:
    """Check that the database keeps organisations apart from this process on.

    :raises SettingsError: It would not, for the role that the process connects as or for a table; or the process
        could do nothing at all.
    """
    role = await look_at_role(session)
    if role is None:
        raise SettingsError(
            "The control plane cannot start: the database is not migrated; run `python -m api.migrate`."
        )
    if (wrong := _what_is_wrong(role)) is not None:
        raise SettingsError(f"The control plane cannot start: {wrong}.")


def _what_is_wrong(role: DatabaseRole) -> str | None:
    rule = "AGENT_FACTORY_DATABASE_URL must name a role that row-level security binds; got"
    reasons = {
        "a superuser": role.is_superuser,
        "which has BYPASSRLS": role.bypasses,
        "which is the owner of the tables, or may become it": role.is_owner,
        f"which is a member of {SYSTEM_ROLE} WITH INHERIT TRUE": role.sees_all,
    }
    for reason, is_so in reasons.items():
        if is_so:
            return f"{rule} {role.name!r}, {reason}: {_HOW}"
    if not role.may_see_all:
        return (
            f"AGENT_FACTORY_DATABASE_URL must name a member of {SYSTEM_ROLE}; got {role.name!r}. Run as a superuser: "
            f'GRANT {SYSTEM_ROLE} TO "{role.name}" WITH INHERIT FALSE, SET TRUE'
        )
    if role.open_tables:
        tables = ", ".join(role.open_tables)
        return (
            "every table of tenants must have row-level security with FORCE; run `python -m api.migrate` where it was "
            f"not run, for these have not: {tables}"
        )
    return None
