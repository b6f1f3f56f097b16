"""SQL of teams."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from api.models import Membership, Team, TeamMember


class TeamRepository:
    """Teams of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    async def add(self, name: str) -> UUID | None:
        """Add a team; None where the name is taken."""
        statement = (
            insert(Team)
            .values(organization_id=self._organization_id, name=name)
            .on_conflict_do_nothing()
            .returning(Team.id)
        )
        return await self._session.scalar(statement)

    async def list(self) -> list[tuple[Team, list[UUID]]]:
        """Return the teams by name, with who is in each."""
        teams = await self._session.scalars(
            select(Team).where(Team.organization_id == self._organization_id).order_by(Team.name)
        )
        query = (
            select(TeamMember.team_id, TeamMember.user_id)
            .where(TeamMember.organization_id == self._organization_id)
            .order_by(TeamMember.user_id)
        )
        members: dict[UUID, list[UUID]] = {}
        for team_id, user_id in await self._session.execute(query):
            members.setdefault(team_id, []).append(user_id)
        return [(team, members.get(team.id, [])) for team in teams]

    async def exists(self, team_id: UUID) -> bool:
        """Tell whether there is a team; it stays until the transaction ends."""
        query = (
            select(Team.id)
            .where(Team.organization_id == self._organization_id, Team.id == team_id)
            .with_for_update(key_share=True, read=True)
        )
        return await self._session.scalar(query) is not None

    async def is_member(self, user_id: UUID) -> bool:
        """Tell whether a user is a member of the organisation; they stay until the transaction ends."""
        query = (
            select(Membership.user_id)
            .where(Membership.organization_id == self._organization_id, Membership.user_id == user_id)
            .with_for_update(key_share=True, read=True)
        )
        return await self._session.scalar(query) is not None

    async def remove(self, team_id: UUID) -> bool:
        """Remove a team; False if there is none."""
        statement = (
            delete(Team).where(Team.organization_id == self._organization_id, Team.id == team_id).returning(Team.id)
        )
        return await self._session.scalar(statement) is not None

    async def join(self, team_id: UUID, user_id: UUID) -> None:
        """Put a member into a team; one who is in it stays."""
        await self._session.execute(
            insert(TeamMember)
            .values(organization_id=self._organization_id, team_id=team_id, user_id=user_id)
            .on_conflict_do_nothing()
        )

    async def leave(self, team_id: UUID, user_id: UUID) -> bool:
        """Take a member out of a team; False if they are not in it."""
        statement = (
            delete(TeamMember)
            .where(
                TeamMember.organization_id == self._organization_id,
                TeamMember.team_id == team_id,
                TeamMember.user_id == user_id,
            )
            .returning(TeamMember.user_id)
        )
        return await self._session.scalar(statement) is not None
