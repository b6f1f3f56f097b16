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

    async def count_others(self, slug: str) -> int:
        """Return how many organisations there are beside one."""
        return await self._session.scalar(select(func.count()).where(Organization.slug != slug)) or 0

    async def all(self) -> dict[str, UUID]:
        """Return slug and id of every organisation."""
        rows = await self._session.execute(select(Organization.slug, Organization.id).order_by(Organization.slug))
        return {row.slug: row.id for row in rows}

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
