"""Exports and imports: ``/api/v1/agents/{id}/export``, ``/api/v1/export`` and ``/api/v1/import``."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, Depends, Query, Request, Response

from api.auth import CallerDep, SettingsDep, permit
from api.edge import EdgeRoute
from api.ids import parse_id
from api.tenancy import Transaction
from api.transfers.schemas import Existing, ImportReport
from api.transfers.service import ExportService, ImportService


class ImportRoute(EdgeRoute):
    """The route of imports, which are larger than other bodies."""

    limit_setting: ClassVar[str] = "import_max_bytes"


class ZipResponse(Response):
    """A zip to be saved."""

    media_type = "application/zip"


router = APIRouter(prefix="/api/v1", tags=["transfers"], route_class=EdgeRoute)
imports = APIRouter(prefix="/api/v1", tags=["transfers"], route_class=ImportRoute)

Versions = Annotated[bool, Query(description="Whether the published versions are to be in it too.")]

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


async def _exports(session: Transaction, caller: CallerDep) -> ExportService:
    return ExportService(session, caller)


async def _imports(session: Transaction, caller: CallerDep, settings: SettingsDep) -> ImportService:
    return ImportService(session, caller, settings)


Exports = Annotated[ExportService, Depends(_exports)]
Imports = Annotated[ImportService, Depends(_imports)]


@router.get("/agents/{agent_id}/export", response_class=ZipResponse, dependencies=[permit("agent:read")])
async def export_agent(agent_id: str, exports: Exports, versions: Versions = True) -> Response:
    """Return an agent as a zip: its draft, canvas and versions."""
    return _zip("agent.zip", await exports.agent(parse_id("agent", agent_id), versions=versions))


@router.get(
    "/export",
    response_class=ZipResponse,
    dependencies=[permit("agent:read"), permit("template:read"), permit("variable:read")],
)
async def export_organization(exports: Exports, versions: Versions = True) -> Response:
    """Return the organisation's agents, templates and variables as a zip; of secret variables their names only."""
    return _zip("organisation.zip", await exports.organization(versions=versions))


@imports.post(
    "/import",
    openapi_extra=_BODY,
    dependencies=[
        permit("agent:create"),
        permit("agent:edit"),
        permit("template:create"),
        permit("template:edit"),
        permit("variable:edit"),
    ],
)
async def import_archive(
    request: Request,
    service: Imports,
    existing: Annotated[Existing, Query(description="What to do with what is here already and differs.")] = "refuse",
    dry_run: Annotated[bool, Query(description="Only say what would be done.")] = False,
) -> ImportReport:
    """Bring an exported zip in, all of it or nothing. Agents become drafts; nothing is published."""
    return await service.bring_in(await request.body(), existing, dry_run=dry_run)


def _zip(name: str, content: bytes) -> Response:
    return ZipResponse(content, headers={"content-disposition": f'attachment; filename="{name}"'})
