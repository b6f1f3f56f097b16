"""``/api/v1/workflows/{id}/runs``: runs that were started in Airflow."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel

from api.adoption.service import AdoptionService
from api.auth import CallerDep, SettingsDep, permit
from api.edge import EdgeRoute
from api.tenancy import Transaction
from api.workflows.plans import PlansDep

router = APIRouter(prefix="/api/v1/workflows/{workflow_id}/runs", tags=["workflows"], route_class=EdgeRoute)


class AdoptedRunView(BaseModel):
    """Which execution belongs to a run."""

    execution_id: UUID
    url: str


@router.get("/{run_id}", dependencies=[permit("execution:read")])
async def get_run(
    workflow_id: str, run_id: str, caller: CallerDep, settings: SettingsDep, plans: PlansDep, session: Transaction
) -> AdoptedRunView:
    """Return the execution of a run by Airflow's run id; 404 until the run's first task has begun."""
    service = AdoptionService(session, caller.organization_id, settings, plans)
    execution_id = await service.execution_of(workflow_id, run_id)
    return AdoptedRunView(execution_id=execution_id, url=f"{settings.public_url}/api/v1/executions/{execution_id}")
