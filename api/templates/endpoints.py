"""``/api/v1/templates``: workflows to begin with."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from api.agents.schemas import AgentView
from api.auth import CallerDep, SettingsDep, permit
from api.edge import EdgeRoute
from api.etags import IfMatch, quoted
from api.json_text import member
from api.paging import Limit
from api.templates.contents import Template
from api.templates.schemas import Source, TemplateCreate, TemplateDetail, TemplateList, TemplateUpdate, TemplateUse
from api.templates.service import TemplateService
from api.tenancy import Transaction
from api.texts import Storable
from api.workflows.preview import Preview, preview_source

router = APIRouter(prefix="/api/v1/templates", tags=["templates"], route_class=EdgeRoute)


async def _service(session: Transaction, caller: CallerDep, settings: SettingsDep) -> TemplateService:
    return TemplateService(session, caller, settings)


Service = Annotated[TemplateService, Depends(_service)]
Search = Annotated[str | None, Query(max_length=255, description="Part of the name or the description."), Storable]
Word = Annotated[str | None, Query(max_length=100), Storable]

_IF_MATCH: dict[str, Any] = {
    "parameters": [{"name": "If-Match", "in": "header", "required": True, "schema": {"type": "string"}}]
}


@router.get("", dependencies=[permit("template:read")])
async def list_templates(
    service: Service,
    source: Source | None = None,
    q: Search = None,
    category: Word = None,
    tag: Word = None,
    before: Annotated[str | None, Query(max_length=100, description="The `next` of the page before.")] = None,
    limit: Limit = 50,
) -> TemplateList:
    """Return templates: the own ones, the newest first, then the public ones."""
    return await service.page(source=source, search=q, category=category, tag=tag, before=before, limit=limit)


@router.post(
    "",
    status_code=201,
    response_model=TemplateDetail,
    dependencies=[permit("template:create"), permit("agent:read")],
)
async def create_template(body: TemplateCreate, request: Request, service: Service) -> Response:
    """Make a template of a workflow, or of an agent's draft or version."""
    source = None if body.workflow is None else member(await request.body(), "workflow")
    template = await service.create(body, source)
    answer = _answer(template, status=201)
    answer.headers["location"] = f"/api/v1/templates/{template.view.id}"
    return answer


@router.get("/{template_id}", response_model=TemplateDetail, dependencies=[permit("template:read")])
async def get_template(template_id: str, service: Service) -> Response:
    """Return a template with its workflow; ``ETag`` names its state."""
    return _answer(await service.get(template_id))


@router.patch(
    "/{template_id}",
    response_model=TemplateDetail,
    openapi_extra=_IF_MATCH,
    dependencies=[permit("template:edit")],
)
async def update_template(
    template_id: str, body: TemplateUpdate, request: Request, service: Service, if_match: IfMatch
) -> Response:
    """Change the fields that are sent of the own template that ``If-Match`` names."""
    sent = "workflow" in body.model_fields_set
    source = member(await request.body(), "workflow") if sent else None
    return _answer(await service.update(template_id, body, source, if_match))


@router.delete("/{template_id}", status_code=204, dependencies=[permit("template:edit")])
async def delete_template(template_id: str, service: Service) -> None:
    """Delete an own template. Agents that were made from it stay."""
    await service.remove(template_id)


@router.post("/{template_id}/preview", dependencies=[permit("template:read")])
async def preview_template(template_id: str, service: Service, caller: CallerDep, settings: SettingsDep) -> Preview:
    """Say what the template's workflow would become: diagnostics, plan, DAG file, and what its model calls may cost."""
    template = await service.get(template_id)
    return await preview_source(template.source, caller.organization, settings.isolation)


@router.post(
    "/{template_id}/instantiate", status_code=201, dependencies=[permit("agent:create"), permit("template:read")]
)
async def instantiate_template(template_id: str, body: TemplateUse, response: Response, service: Service) -> AgentView:
    """Make an agent from a template: with an id, a name and webhook paths of its own."""
    view = await service.instantiate(template_id, body)
    response.headers["location"] = f"/api/v1/agents/{view.id}"
    return view


def _answer(template: Template, *, status: int = 200) -> Response:
    headers = {"etag": quoted(template.tag)}
    return Response(template.as_json(), status, headers, media_type="application/json")
