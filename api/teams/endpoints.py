"""``/api/v1/teams``."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends

from api.auth import CallerDep, permit
from api.edge import EdgeRoute
from api.teams.schemas import TeamCreate, TeamList, TeamView
from api.teams.service import TeamService
from api.tenancy import Transaction

router = APIRouter(prefix="/api/v1/teams", tags=["identity"], route_class=EdgeRoute)


async def _service(session: Transaction, caller: CallerDep) -> TeamService:
    return TeamService(session, caller)


Service = Annotated[TeamService, Depends(_service)]


@router.post("", status_code=201, dependencies=[permit("team:manage")])
async def make_team(body: TeamCreate, service: Service) -> TeamView:
    """Make a team."""
    return await service.make(body.name)


@router.get("", dependencies=[permit("team:read")])
async def list_teams(service: Service) -> TeamList:
    """Return the teams and who is in them."""
    return await service.list()


@router.delete("/{team_id}", status_code=204, dependencies=[permit("team:manage")])
async def remove_team(team_id: UUID, service: Service) -> None:
    """Remove a team."""
    await service.remove(team_id)


@router.put("/{team_id}/members/{user_id}", status_code=204, dependencies=[permit("team:manage")])
async def join_team(team_id: UUID, user_id: UUID, service: Service) -> None:
    """Put a member into a team."""
    await service.join(team_id, user_id)


@router.delete("/{team_id}/members/{user_id}", status_code=204, dependencies=[permit("team:manage")])
async def leave_team(team_id: UUID, user_id: UUID, service: Service) -> None:
    """Take a member out of a team."""
    await service.leave(team_id, user_id)
