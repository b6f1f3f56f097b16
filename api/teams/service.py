"""Teams: make, list, remove, and who is in them."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api.identity.callers import Caller
from api.problems import Problem, not_found
from api.teams.repository import TeamRepository
from api.teams.schemas import TeamList, TeamView


class TeamService:
    """Teams of the caller's organisation."""

    def __init__(self, session: AsyncSession, caller: Caller) -> None:
        self._teams = TeamRepository(session, caller.organization_id)

    async def make(self, name: str) -> TeamView:
        """Make a team.

        :raises Problem: 409 where the name is taken.
        """
        team_id = await self._teams.add(name)
        if team_id is None:
            raise Problem(409, "name_taken", f"`name` must be a new one; there is a team {name!r}.")
        return TeamView(id=team_id, name=name, user_ids=[])

    async def list(self) -> TeamList:
        """Return the teams."""
        rows = await self._teams.list()
        return TeamList(teams=[TeamView(id=row.id, name=row.name, user_ids=members) for row, members in rows])

    async def remove(self, team_id: UUID) -> None:
        """Remove a team.

        :raises Problem: 404.
        """
        if not await self._teams.remove(team_id):
            raise not_found("team", team_id)

    async def join(self, team_id: UUID, user_id: UUID) -> None:
        """Put a member into a team.

        :raises Problem: 404.
        """
        if not await self._teams.exists(team_id):
            raise not_found("team", team_id)
        if not await self._teams.is_member(user_id):
            raise not_found("member", user_id)
        await self._teams.join(team_id, user_id)

    async def leave(self, team_id: UUID, user_id: UUID) -> None:
        """Take a member out of a team.

        :raises Problem: 404.
        """
        if not await self._teams.leave(team_id, user_id):
            raise not_found("member of the team", user_id)
