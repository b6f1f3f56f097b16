"""``/api/v1/workflows``."""

from __future__ import annotations

from fastapi import APIRouter, BackgroundTasks, Request, Response

from api.auth import CallerDep, SettingsDep, permit
from api.edge import EdgeRoute
from api.tenancy import Transaction
from api.workflows.preview import Validation, validate_source
from api.workflows.schemas import UNCHANGED, Published
from api.workflows.service import WorkflowService, compile_source

router = APIRouter(prefix="/api/v1/workflows", tags=["workflows"], route_class=EdgeRoute)

_EXAMPLE = {
    "id": "greet",
    "name": "Greeter",
    "version": "1.0",
    "trigger": {"type": "manual"},
    "tasks": [{"id": "hello", "type": "transform", "config": {"set": {"text": "Hello {{ input.name }}"}}}],
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object"}, "example": _EXAMPLE}},
    }
}


@router.post("/validate", openapi_extra=_BODY, dependencies=[permit("agent:read")])
async def validate_workflow(request: Request, caller: CallerDep, settings: SettingsDep) -> Validation:
    """Say whether a workflow could be published, and everything that is wrong with it. Nothing is kept."""
    return await validate_source(await request.body(), caller.organization, settings.isolation)


@router.post(
    "/{workflow_id}/publish",
    status_code=201,
    responses=UNCHANGED,
    openapi_extra=_BODY,
    dependencies=[permit("workflow:publish")],
)
async def publish_workflow(
    workflow_id: str,
    request: Request,
    response: Response,
    background: BackgroundTasks,
    caller: CallerDep,
    settings: SettingsDep,
    session: Transaction,
) -> Published:
    """Publish a workflow: 201 with a new version, 200 where it equals the current one.

    The body is the workflow's JSON, kept as it is sent.
    """
    source = await request.body()
    compilation, plan = await compile_source(source, workflow_id, caller.organization, settings.isolation)
    publication = await WorkflowService(session, caller, settings).publish(source, compilation, plan)
    if publication.is_new:
        # After the answer, so after the commit: Airflow finds the release when it looks.
        background.add_task(request.app.state.airflow.push)
    else:
        response.status_code = 200
    return publication.answer
