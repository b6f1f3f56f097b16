"""``/runtime/v1/workflows``: what our view in Airflow's UI calls. Who may start a DAG is checked there, by Airflow."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from api.auth import SettingsDep, authenticate_runtime
from api.edge import EdgeRoute
from api.executions.service import ExecutionService
from api.idempotency.keys import read_key
from api.organizations.repository import OrganizationRepository
from api.problems import not_found
from api.tenancy import SystemTransaction
from api.workflows.plans import PlansDep
from api.workflows.repository import PublishedVersion, WorkflowRepository
from operators.execution.local import MANUAL_TRIGGER

router = APIRouter(
    prefix="/runtime/v1/workflows/{organization}/{workflow_id}",
    tags=["runtime"],
    route_class=EdgeRoute,
    dependencies=[Depends(authenticate_runtime)],
)


class FormView(BaseModel):
    """What a form is made of."""

    workflow_id: str
    name: str
    description: str | None
    version: int
    input_schema: dict[str, JsonValue] | None


class FormInput(BaseModel):
    """What was entered."""

    model_config = ConfigDict(extra="forbid")

    input: JsonValue = Field(default_factory=dict)


class FormAccepted(BaseModel):
    """The execution that was started; ``run_id`` is its run in Airflow. ``existing`` tells that nothing new was."""

    execution_id: UUID
    run_id: str
    url: str
    existing: bool


async def _current(organization: str, workflow_id: str, session: SystemTransaction) -> PublishedVersion:
    organization_id = await OrganizationRepository(session).enter(organization)
    if organization_id is not None:
        current = await WorkflowRepository(session, organization_id).current(workflow_id)
        if current is not None and not current.archived:
            return current
    raise not_found("published workflow", f"{organization}/{workflow_id}")


Current = Annotated[PublishedVersion, Depends(_current)]


@router.get("/form")
async def get_form(current: Current, session: SystemTransaction, plans: PlansDep) -> FormView:
    """Return title and input schema of a workflow's current version."""
    plan = (await plans.load(session, current.organization_id, current.plan_digest)).plan
    return FormView(
        workflow_id=current.workflow_id,
        name=plan.name,
        description=plan.description,
        version=current.number,
        input_schema=plan.input_schema,
    )


@router.post("/executions", status_code=202)
async def start_execution(
    body: FormInput,
    request: Request,
    response: Response,
    current: Current,
    session: SystemTransaction,
    settings: SettingsDep,
    plans: PlansDep,
) -> FormAccepted:
    """Start the current version of a workflow by hand. The same request again within 24 hours, by its
    ``Idempotency-Key``, starts nothing: 200 with the execution of the first one."""
    key = read_key(request, "form", {"workflow_id": current.workflow_id, **body.model_dump(mode="json")}, waits=True)
    service = ExecutionService(session, current.organization_id, settings, plans)
    accepted = await service.accept(
        current.workflow_id, input=body.input, trigger=MANUAL_TRIGGER, keys=[key] if key else []
    )
    existing = accepted.existing or accepted.replayed
    if existing:
        response.status_code = 200
    return FormAccepted(
        execution_id=accepted.execution_id,
        run_id=str(accepted.execution_id),
        url=accepted.url,
        existing=existing,
    )
