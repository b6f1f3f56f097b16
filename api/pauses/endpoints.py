"""``/api/v1/relay``, and the pauses of workflows."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from api.auth import CallerDep, permit
from api.edge import EdgeRoute
from api.pauses.schemas import RelayState, WorkflowPause
from api.pauses.service import PauseService
from api.tenancy import Transaction

router = APIRouter(prefix="/api/v1", tags=["relay"], route_class=EdgeRoute)


async def _service(session: Transaction, caller: CallerDep) -> PauseService:
    return PauseService(session, caller.organization_id)


Service = Annotated[PauseService, Depends(_service)]


@router.get("/relay", dependencies=[permit("relay:read")])
async def get_relay(service: Service) -> RelayState:
    """Return what is paused, and how much waits."""
    return await service.state()


@router.post("/relay/pause", dependencies=[permit("relay:manage")])
async def pause_relay(service: Service) -> RelayState:
    """Give Airflow no executions of the organisation until it is resumed: they are accepted and wait in their order."""
    return await service.pause()


@router.post("/relay/resume", dependencies=[permit("relay:manage")])
async def resume_relay(service: Service) -> RelayState:
    """End the organisation's pause. Workflows that are paused themselves stay so."""
    return await service.resume()


@router.post("/workflows/{workflow_id}/pause", dependencies=[permit("workflow:pause")])
async def pause_workflow(workflow_id: str, service: Service) -> WorkflowPause:
    """Give Airflow no executions of a workflow until it is resumed: they are accepted and wait in their order."""
    return await service.pause_workflow(workflow_id)


@router.post("/workflows/{workflow_id}/resume", dependencies=[permit("workflow:pause")])
async def resume_workflow(workflow_id: str, service: Service) -> WorkflowPause:
    """End a workflow's pause."""
    return await service.resume_workflow(workflow_id)
