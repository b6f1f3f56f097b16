"""SQL of organisations."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from api.models import Organization


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

    async def ensure(self, slug: str) -> UUID:
        """Return an organisation's id; make the organisation if it is not there."""
        await self._session.execute(insert(Organization).values(slug=slug, name=slug).on_conflict_do_nothing())
        found = await self.find(slug)
        assert found is not None
        return found
