"""``/api/v1/organizations/{slug}/deletion``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from api.auth import CallerDep, SettingsDep, permit
from api.deletion.schemas import DeletionCreate, DeletionView
from api.deletion.service import DeletionService
from api.edge import EdgeRoute
from api.tenancy import Transaction

router = APIRouter(prefix="/api/v1/organizations/{slug}/deletion", tags=["identity"], route_class=EdgeRoute)


async def _service(session: Transaction, caller: CallerDep, settings: SettingsDep) -> DeletionService:
    return DeletionService(session, caller, settings)


Service = Annotated[DeletionService, Depends(_service)]


@router.get("", dependencies=[permit("org:read")])
async def get_deletion(slug: str, service: Service) -> DeletionView:
    """Return when the organisation is deleted; 404 where that was not ordered."""
    return await service.show(slug)


@router.post("", status_code=202, dependencies=[permit("org:delete")])
async def order_deletion(slug: str, body: DeletionCreate, service: Service) -> DeletionView:
    """Have the organisation deleted, with everything that is its, after the days of grace."""
    return await service.order(slug, body.confirm)


@router.delete("", status_code=204, dependencies=[permit("org:delete")])
async def call_off_deletion(slug: str, service: Service) -> None:
    """Keep the organisation after all."""
    await service.call_off(slug)
