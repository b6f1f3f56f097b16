"""Row-level security for migrations: one line for each new table.

    protect("api_keys")     a table of tenants: it has ``organization_id``
    share("releases")       a table of the installation: no tenant text in it
    reserve("signing_keys") one that only transactions that see every organisation use

A migration runs as the tables' owner, a member of the system's role: it sees every row, also by its own statements.
"""

from __future__ import annotations

from alembic import op

APP = "agent_factory_app"
"""What the control plane connects as, or is a member of: no superuser, owns nothing."""
SYSTEM = "agent_factory_system"
"""What it becomes for the transactions that see every organisation."""
ALL = "SELECT, INSERT, UPDATE, DELETE"
# No organisation, and what is left of one that was set in an earlier transaction (""), are none: nothing is equal.
_CURRENT = "CAST(nullif(current_setting('agent_factory.organization_id', true), '') AS uuid)"


def protect(table: str, *, column: str = "organization_id", app: str = ALL) -> None:
    """Let a transaction see and write the rows of its organisation only, and the system's role all.

    :param column: Holds the organisation's id.
    :param app: What the application may do with the rows of its organisation.
    """
    own = f"{column} = {_CURRENT}"
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY of_organization ON {table} USING ({own}) WITH CHECK ({own})")
    op.execute(f"CREATE POLICY of_system ON {table} TO {SYSTEM} USING (true) WITH CHECK (true)")
    share(table, app=app)


def unprotect(table: str) -> None:
    """Take :func:`protect` back."""
    unshare(table)
    op.execute(f"DROP POLICY of_system ON {table}")
    op.execute(f"DROP POLICY of_organization ON {table}")
    op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY")


def share(table: str, *, app: str = ALL, system: str = ALL) -> None:
    """Let the application use a table that is no tenant's."""
    op.execute(f"GRANT {app} ON {table} TO {APP}")
    op.execute(f"GRANT {system} ON {table} TO {SYSTEM}")


def reserve(table: str) -> None:
    """Let only the system's role use a table that is no tenant's: what a transaction of an organisation never needs."""
    op.execute(f"GRANT {ALL} ON {table} TO {SYSTEM}")


def unshare(table: str) -> None:
    """Take :func:`share` or :func:`reserve` back."""
    op.execute(f"REVOKE ALL ON {table} FROM {APP}, {SYSTEM}")


def make_roles() -> None:
    """Make the roles that are not there, and the memberships; a role without a login is made one by who runs it.

    Roles belong to the whole cluster: other databases' migrations may make them at the same time, and somebody may
    have made them before. Then nothing is changed, and the right to make roles is not needed.
    """
    for role in (APP, SYSTEM):
        _unless(f"SELECT FROM pg_roles WHERE rolname = '{role}'", f"CREATE ROLE {role}")
    has_role = "SELECT WHERE pg_has_role({}, '{}', '{}')"
    grant = f"GRANT {SYSTEM} TO {{}} WITH INHERIT {{}}, SET TRUE"
    _unless(has_role.format(f"'{APP}'", SYSTEM, "SET"), grant.format(APP, "FALSE"))
    _unless(has_role.format("current_user", SYSTEM, "USAGE"), grant.format("CURRENT_USER", "TRUE"))


def _unless(there: str, statement: str) -> None:
    """Run a statement unless a query finds that it was done; also by another migration, which is waited for."""
    op.execute(
        f"DO $$ BEGIN IF NOT EXISTS ({there}) THEN {statement}; END IF;"
        " EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
    )
