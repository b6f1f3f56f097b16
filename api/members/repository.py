"""SQL of members."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from api.models import Membership, User


class MemberRepository:
    """Members of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    async def list(self) -> list[tuple[Membership, User]]:
        """Return the members, the first that joined first."""
        query = (
            select(Membership, User)
            .join(User, User.id == Membership.user_id)
            .where(Membership.organization_id == self._organization_id)
            .order_by(Membership.created_at, Membership.user_id)
        )
        return [(row.Membership, row.User) for row in await self._session.execute(query)]

    async def find(self, user_id: UUID) -> tuple[Membership, User] | None:
        """Return a member."""
        query = (
            select(Membership, User)
            .join(User, User.id == Membership.user_id)
            .where(Membership.organization_id == self._organization_id, Membership.user_id == user_id)
        )
        row = (await self._session.execute(query)).first()
        return None if row is None else (row.Membership, row.User)

    async def is_member(self, email: str) -> bool:
        """Tell whether the user of an address is a member."""
        query = (
            select(Membership.user_id)
            .join(User, User.id == Membership.user_id)
            .where(Membership.organization_id == self._organization_id, User.email == email)
        )
        return await self._session.scalar(query) is not None

    async def other_owners(self, user_id: UUID) -> int:
        """Return how many owners that can log in there are besides one member."""
        query = (
            select(func.count())
            .select_from(Membership)
            .join(User, User.id == Membership.user_id)
            .where(
                Membership.organization_id == self._organization_id,
                Membership.user_id != user_id,
                Membership.role == "organization_owner",
                User.disabled_at.is_(None),
            )
        )
        return await self._session.scalar(query) or 0

    async def remove(self, user_id: UUID) -> None:
        """Remove a member, from the teams too."""
        await self._session.execute(
            delete(Membership).where(Membership.organization_id == self._organization_id, Membership.user_id == user_id)
        )
