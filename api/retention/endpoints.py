"""``/api/v1/retention``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from api.auth import CallerDep, SettingsDep, permit
from api.edge import EdgeRoute
from api.retention.schemas import RetentionChange, RetentionView
from api.retention.service import RetentionService
from api.tenancy import Transaction

router = APIRouter(prefix="/api/v1/retention", tags=["identity"], route_class=EdgeRoute)


async def _service(session: Transaction, caller: CallerDep, settings: SettingsDep) -> RetentionService:
    return RetentionService(session, caller.organization_id, settings)


Service = Annotated[RetentionService, Depends(_service)]


@router.get("", dependencies=[permit("org:read")])
async def get_retention(service: Service) -> RetentionView:
    """Return how long the organisation keeps its executions and its audit log, in days."""
    return await service.show()


@router.put("", dependencies=[permit("org:retention")])
async def change_retention(body: RetentionChange, service: Service) -> RetentionView:
    """Change it. What is older goes with the next round of upkeep and does not come back."""
    return await service.change(body)
