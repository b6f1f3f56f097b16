"""``/api/v1/workflows/{id}/inputs``."""

from __future__ import annotations

from fastapi import APIRouter

from api.auth import CallerDep, permit
from api.edge import EdgeRoute
from api.inputs.schemas import InputCreate, InputPrepared
from api.inputs.service import InputService
from api.tenancy import Transaction
from api.workflows.plans import PlansDep

router = APIRouter(prefix="/api/v1/workflows/{workflow_id}/inputs", tags=["workflows"], route_class=EdgeRoute)


@router.post("", status_code=201, dependencies=[permit("execution:run")])
async def prepare_input(
    workflow_id: str, body: InputCreate, caller: CallerDep, plans: PlansDep, session: Transaction
) -> InputPrepared:
    """Store an input for runs that are started in Airflow with ``{"input_id": "..."}`` as their ``conf``."""
    input_id = await InputService(session, caller.organization_id, plans).prepare(workflow_id, body.input)
    return InputPrepared(input_id=input_id)
