"""SQL of organisations, and what keeps them apart."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from api.database import SYSTEM_ROLE
from api.models import Organization

_ENTER = text(
    "SELECT id, set_config('role', 'none', true),"
    " set_config('agent_factory.organization_id', CAST(id AS text), true) FROM organizations WHERE slug = :slug"
)


class OrganizationRepository:
    """Organisations by slug, in a transaction that sees them all."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def find(self, slug: str) -> UUID | None:
        """Return an organisation's id."""
        return await self._session.scalar(select(Organization.id).where(Organization.slug == slug))

    async def enter(self, slug: str) -> UUID | None:
        """Return an organisation's id, and let the rest of the transaction see it only; both at once, for doors that
        are asked by slug. Where there is none the transaction stays as it is."""
        row = (await self._session.execute(_ENTER, {"slug": slug})).first()
        return row.id if row else None

    async def get(self, organization_id: UUID) -> Organization | None:
        """Return an organisation."""
        return await self._session.get(Organization, organization_id)

    async def oldest(self) -> Organization | None:
        """Return the organisation that was made first."""
        return await self._session.scalar(select(Organization).order_by(Organization.id).limit(1))

    async def add(self, slug: str, name: str) -> Organization | None:
        """Add an organisation; None where the slug is taken."""
        organization_id = await self._session.scalar(
            insert(Organization).values(slug=slug, name=name).on_conflict_do_nothing().returning(Organization.id)
        )
        return None if organization_id is None else await self.get(organization_id)

    async def lock(self, organization_id: UUID) -> None:
        """Let one change at a time decide who its owners are, until the transaction ends."""
        await self._session.execute(
            select(Organization.id).where(Organization.id == organization_id).with_for_update(key_share=True)
        )

    async def count_others(self, slug: str) -> int:
        """Return how many organisations there are beside one."""
        return await self._session.scalar(select(func.count()).where(Organization.slug != slug)) or 0

    async def staying(self) -> dict[str, UUID]:
        """Return slug and id of every organisation but those whose deletion has begun."""
        query = select(Organization.slug, Organization.id).where(Organization.deletion_began_at.is_(None))
        rows = await self._session.execute(query.order_by(Organization.slug))
        return {row.slug: row.id for row in rows}

    async def ensure(self, slug: str) -> UUID:
        """Return an organisation's id; make the organisation if it is not there."""
        await self._session.execute(insert(Organization).values(slug=slug, name=slug).on_conflict_do_nothing())
        found = await self.find(slug)
        assert found is not None
        return found


_LOOK = text(
    """
    WITH tenants AS (
        SELECT relname, relowner, relrowsecurity AND relforcerowsecurity AS is_protected FROM pg_class
        WHERE relkind IN ('r', 'p') AND relnamespace = CAST('public' AS regnamespace) AND EXISTS (
            SELECT FROM pg_attribute WHERE attrelid = pg_class.oid AND attname = 'organization_id' AND NOT attisdropped)
    )
    SELECT current_user, me.rolsuper, me.rolbypassrls,
        coalesce((SELECT bool_or(pg_has_role(me.oid, relowner, 'MEMBER')) FROM tenants), false),
        pg_has_role(me.oid, of_all.oid, 'USAGE'), pg_has_role(me.oid, of_all.oid, 'SET'),
        coalesce((SELECT array_agg(relname ORDER BY relname) FROM tenants WHERE NOT is_protected), '{}')
    FROM pg_roles me, pg_roles of_all
    WHERE me.rolname = current_user AND of_all.rolname = :system
    """
)


@dataclass(frozen=True)
class DatabaseRole:
    """The role that this process has in the database, as far as row-level security is concerned.

    :param is_owner: Whether it owns a table of tenants, or may become its owner.
    :param sees_all: Whether it sees every organisation without taking the system's role.
    :param may_see_all: Whether it may take that role.
    :param open_tables: Tables of tenants that are not protected.
    """

    name: str
    is_superuser: bool
    bypasses: bool
    is_owner: bool
    sees_all: bool
    may_see_all: bool
    open_tables: list[str]


async def look_at_role(session: AsyncSession) -> DatabaseRole | None:
    """Return the role of this process; None where the database is not migrated."""
    row = (await session.execute(_LOOK, {"system": SYSTEM_ROLE})).first()
    return DatabaseRole(*row) if row else None
