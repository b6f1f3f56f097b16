"""``/api/v1/workflows``."""

from __future__ import annotations

from fastapi import APIRouter, BackgroundTasks, Request, Response

from api.auth import CallerDep, SettingsDep
from api.database import Transaction
from api.edge import EdgeRoute
from api.namespaces.jobs import ensure_namespace
from api.namespaces.settings import has_pods, refuse_images
from api.workflows.schemas import Published
from api.workflows.service import WorkflowService, compile_source

router = APIRouter(prefix="/api/v1/workflows", tags=["workflows"], route_class=EdgeRoute)

_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}}


@router.post("/{workflow_id}/publish", status_code=201, openapi_extra=_BODY)
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
    if has_pods(plan):
        refuse_images(settings, caller.organization, plan)
        await ensure_namespace(settings, caller.organization)
    publication = await WorkflowService(session, caller, settings).publish(source, compilation, plan)
    if publication.is_new:
        # After the answer, so after the commit: Airflow finds the release when it looks.
        background.add_task(request.app.state.airflow.push)
    else:
        response.status_code = 200
    return publication.answer
