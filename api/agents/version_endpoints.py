"""``/api/v1/agents/{id}``: publishing, versions, differences, rollback, archive."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, BackgroundTasks, Depends, Path, Query, Request, Response

from api.agents.schemas import AgentView
from api.agents.version_schemas import VersionDetail, VersionList, WorkflowDiff
from api.agents.versions import LARGEST_NUMBER, ArchiveService, VersionService, show_version
from api.auth import CallerDep, SettingsDep, permit
from api.edge import EdgeRoute
from api.etags import IfMatch
from api.ids import parse_id
from api.paging import Limit
from api.tenancy import Transaction
from api.workflows.schemas import UNCHANGED, Published
from api.workflows.service import Publication

router = APIRouter(prefix="/api/v1/agents/{agent_id}", tags=["versions"], route_class=EdgeRoute)


async def _service(session: Transaction, caller: CallerDep, settings: SettingsDep) -> VersionService:
    return VersionService(session, caller, settings)


async def _archive_service(session: Transaction, caller: CallerDep, settings: SettingsDep) -> ArchiveService:
    return ArchiveService(session, caller, settings)


Service = Annotated[VersionService, Depends(_service)]
Archives = Annotated[ArchiveService, Depends(_archive_service)]
Number = Annotated[str, Path(description="The version's number.")]

_IF_MATCH: dict[str, Any] = {
    "parameters": [{"name": "If-Match", "in": "header", "required": True, "schema": {"type": "string"}}]
}
_WHICH = "A version's number, or `draft`."


@router.post(
    "/publish",
    status_code=201,
    responses=UNCHANGED,
    openapi_extra=_IF_MATCH,
    dependencies=[permit("workflow:publish")],
)
async def publish_draft(
    agent_id: str,
    request: Request,
    response: Response,
    background: BackgroundTasks,
    service: Service,
    if_match: IfMatch,
) -> Published:
    """Publish the draft that ``If-Match`` names: 201 with a new version, 200 where it equals the current one."""
    publication = await service.publish(parse_id("agent", agent_id), if_match)
    return _published(publication, request, response, background)


@router.get("/versions", dependencies=[permit("agent:read")])
async def list_versions(
    agent_id: str,
    service: Service,
    before: Annotated[int | None, Query(ge=0, le=LARGEST_NUMBER, description="The `next` of the page before.")] = None,
    limit: Limit = 50,
) -> VersionList:
    """Return an agent's versions, the newest first."""
    return await service.page(parse_id("agent", agent_id), before=before, limit=limit)


@router.get("/versions/{number}", response_model=VersionDetail, dependencies=[permit("agent:read")])
async def get_version(agent_id: str, number: Number, service: Service) -> Response:
    """Return a version with its workflow as it was sent."""
    version = await service.get(parse_id("agent", agent_id), number)
    shown = show_version(version).model_dump() | {"workflow": orjson.Fragment(version.source)}
    return Response(orjson.dumps(shown, option=orjson.OPT_UTC_Z), media_type="application/json")


@router.post(
    "/versions/{number}/rollback",
    status_code=201,
    responses=UNCHANGED,
    dependencies=[permit("workflow:publish")],
)
async def rollback_version(
    agent_id: str,
    number: Number,
    request: Request,
    response: Response,
    background: BackgroundTasks,
    service: Service,
) -> Published:
    """Publish an older version's content as a new version: 200 where it equals the current one."""
    publication = await service.rollback(parse_id("agent", agent_id), number)
    return _published(publication, request, response, background)


@router.get("/diff", response_model_exclude_unset=True, dependencies=[permit("agent:read")])
async def diff_versions(
    agent_id: str,
    service: Service,
    before: Annotated[str, Query(alias="from", description=_WHICH)],
    after: Annotated[str, Query(alias="to", description=_WHICH)] = "draft",
) -> WorkflowDiff:
    """Return what changed from one version, or the draft, to another: by tasks, edges, triggers and fields."""
    return WorkflowDiff.model_validate(await service.diff(parse_id("agent", agent_id), before, after))


@router.post("/archive", dependencies=[permit("workflow:publish")])
async def archive_agent(agent_id: str, request: Request, background: BackgroundTasks, archives: Archives) -> AgentView:
    """Have nothing start an agent any more. What runs runs to its end."""
    view, has_new = await archives.archive(parse_id("agent", agent_id))
    if has_new:
        background.add_task(request.app.state.airflow.push)
    return view


@router.post("/unarchive", dependencies=[permit("workflow:publish")])
async def unarchive_agent(
    agent_id: str, request: Request, background: BackgroundTasks, archives: Archives
) -> AgentView:
    """Put an archived agent back into use, with its newest version."""
    view = await archives.unarchive(parse_id("agent", agent_id))
    background.add_task(request.app.state.airflow.push)
    return view


def _published(
    publication: Publication, request: Request, response: Response, background: BackgroundTasks
) -> Published:
    if publication.is_new:
        # After the answer, so after the commit: Airflow finds the release when it looks.
        background.add_task(request.app.state.airflow.push)
    else:
        response.status_code = 200
    return publication.answer
