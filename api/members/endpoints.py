"""``/api/v1/members``."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends

from api.auth import CallerDep, permit
from api.edge import EdgeRoute
from api.members.schemas import MemberChange, MemberList, MemberView
from api.members.service import MemberService
from api.tenancy import Transaction

router = APIRouter(prefix="/api/v1/members", tags=["identity"], route_class=EdgeRoute)


async def _service(session: Transaction, caller: CallerDep) -> MemberService:
    return MemberService(session, caller)


Service = Annotated[MemberService, Depends(_service)]


@router.get("", dependencies=[permit("user:read")])
async def list_members(service: Service) -> MemberList:
    """Return the members of the organisation."""
    return await service.list()


@router.put("/{user_id}", dependencies=[permit("user:manage")])
async def change_member(user_id: UUID, body: MemberChange, service: Service) -> MemberView:
    """Change a member's role; it counts from their next request on."""
    return await service.change(user_id, body.role)


@router.delete("/{user_id}", status_code=204, dependencies=[permit("user:manage")])
async def remove_member(user_id: UUID, service: Service) -> None:
    """Remove a member; it counts from their next request on."""
    await service.remove(user_id)
