"""SQL of organisations and their variables."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from api.models import Organization, Variable


class OrganizationRepository:
    """Organisations by slug; the one table that belongs to no organisation."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def find(self, slug: str) -> UUID | None:
        """Return an organisation's id."""
        return await self._session.scalar(select(Organization.id).where(Organization.slug == slug))

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

    async def ensure(self, slug: str) -> UUID:
        """Return an organisation's id; make the organisation if it is not there."""
        await self._session.execute(insert(Organization).values(slug=slug, name=slug).on_conflict_do_nothing())
        found = await self.find(slug)
        assert found is not None
        return found


class VariableRepository:
    """Variables of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    async def values(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Return the values of the named variables; those that are not set are left out."""
        if not names:
            return {}
        query = select(Variable.name, Variable.value).where(
            Variable.organization_id == self._organization_id, Variable.name.in_(names)
        )
        rows = await self._session.execute(query)
        return {row.name: row.value for row in rows}
