"""``/api/v1/warm-pods``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from api.auth import CallerDep, SettingsDep, permit
from api.edge import EdgeRoute
from api.namespaces.schemas import WarmPoolsChange, WarmPoolsView
from api.namespaces.service import WarmPodService
from api.tenancy import Transaction

router = APIRouter(prefix="/api/v1/warm-pods", tags=["identity"], route_class=EdgeRoute)


async def _service(session: Transaction, caller: CallerDep, settings: SettingsDep) -> WarmPodService:
    return WarmPodService(session, caller.organization_id, caller.organization, settings)


Service = Annotated[WarmPodService, Depends(_service)]


@router.get("", dependencies=[permit("org:read")])
async def get_warm_pods(service: Service) -> WarmPoolsView:
    """Return which pods the organisation keeps started for its Python steps."""
    return await service.show()


@router.put("", dependencies=[permit("org:warm_pods")])
async def change_warm_pods(body: WarmPoolsChange, service: Service) -> WarmPoolsView:
    """Change it. Pods are started and removed within a minute or two."""
    return await service.change(body)
