"""``/api/v1/agents``: agents and their drafts."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from api.agents.repository import Status
from api.agents.schemas import AgentCreate, AgentList, AgentUpdate, AgentView, DraftUpdate, DraftView
from api.agents.service import AgentService, Draft
from api.auth import CallerDep, SettingsDep, permit
from api.edge import EdgeRoute
from api.etags import IfMatch, quoted
from api.ids import parse_id
from api.json_text import member
from api.paging import Before, Limit
from api.tenancy import Transaction
from api.texts import Storable
from api.workflows.preview import Preview, preview_source

router = APIRouter(prefix="/api/v1/agents", tags=["agents"], route_class=EdgeRoute)


async def _service(session: Transaction, caller: CallerDep) -> AgentService:
    return AgentService(session, caller)


Service = Annotated[AgentService, Depends(_service)]
Search = Annotated[str | None, Query(max_length=255, description="Part of the name or the workflow's id."), Storable]

_IF_MATCH: dict[str, Any] = {
    "parameters": [{"name": "If-Match", "in": "header", "required": True, "schema": {"type": "string"}}]
}


@router.post("", status_code=201, dependencies=[permit("agent:create")])
async def create_agent(body: AgentCreate, request: Request, response: Response, service: Service) -> AgentView:
    """Make an agent. Without ``workflow`` its draft is a workflow without tasks."""
    source = None if body.workflow is None else member(await request.body(), "workflow")
    view = await service.create(body, source)
    response.headers["location"] = f"/api/v1/agents/{view.id}"
    return view


@router.get("", dependencies=[permit("agent:read")])
async def list_agents(
    service: Service, q: Search = None, status: Status | None = None, before: Before = None, limit: Limit = 50
) -> AgentList:
    """Return agents, the newest first."""
    return await service.page(search=q, status=status, before=before, limit=limit)


@router.get("/{agent_id}", dependencies=[permit("agent:read")])
async def get_agent(agent_id: str, service: Service) -> AgentView:
    """Return an agent."""
    return await service.show(parse_id("agent", agent_id))


@router.patch("/{agent_id}", dependencies=[permit("agent:edit")])
async def update_agent(agent_id: str, body: AgentUpdate, service: Service) -> AgentView:
    """Change an agent's name or description. Its workflow is changed by its draft."""
    return await service.update(parse_id("agent", agent_id), body)


@router.delete("/{agent_id}", status_code=204, dependencies=[permit("agent:edit")])
async def delete_agent(agent_id: str, service: Service) -> None:
    """Delete an agent that was never published; one that was can be archived."""
    await service.remove(parse_id("agent", agent_id))


@router.get("/{agent_id}/workflow", response_model=DraftView, dependencies=[permit("agent:read")])
async def get_draft(agent_id: str, service: Service) -> Response:
    """Return an agent's draft; ``ETag`` names its state."""
    return _answer(await service.draft(parse_id("agent", agent_id)))


@router.post("/{agent_id}/preview", dependencies=[permit("agent:read")])
async def preview_draft(agent_id: str, service: Service, caller: CallerDep, settings: SettingsDep) -> Preview:
    """Say what the draft would become: diagnostics, plan, DAG file, and what its model calls may cost."""
    draft = await service.draft(parse_id("agent", agent_id))
    return await preview_source(draft.source, caller.organization, settings.isolation)


@router.put(
    "/{agent_id}/workflow", response_model=DraftView, openapi_extra=_IF_MATCH, dependencies=[permit("agent:edit")]
)
async def put_draft(
    agent_id: str, body: DraftUpdate, request: Request, service: Service, if_match: IfMatch
) -> Response:
    """Store a draft in the place of the one that ``If-Match`` names."""
    source = member(await request.body(), "workflow")
    assert source is not None, "the model requires it"
    draft = await service.save(
        parse_id("agent", agent_id), source=source, document=body.workflow, canvas=body.canvas, given=if_match
    )
    return _answer(draft)


def _answer(draft: Draft) -> Response:
    return Response(draft.as_json(), media_type="application/json", headers={"etag": quoted(draft.tag)})
