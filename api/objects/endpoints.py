"""Large outputs: ``/runtime/v1/executions/{id}/outputs`` for workers, and the download of any output."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Path, Request, Response

from api.auth import CallerDep, SettingsDep, authenticate_runtime, permit
from api.database import Database, DatabaseDep
from api.edge import EdgeRoute, read_body
from api.executions.repository import ENDED, ExecutionRepository
from api.executions.service import parse_execution_id
from api.objects.service import OutputService, download, read, write
from api.problems import Problem, not_found
from api.runtime.repository import find_execution, lock_execution
from api.settings import Settings
from operators.execution.outputs import stored_output
from operators.execution.records import StoredOutput

Responses = dict[int | str, dict[str, Any]]
_LOST: Responses = {410: {"description": "It is gone, or was changed"}}
_JSON: Responses = {200: {"description": "The output", "content": {"application/json": {"schema": {}}}}, **_LOST}
_REFUSALS: Responses = {
    409: {"description": "The execution has ended, or there is no object store"},
    413: {"description": "It is too large, or the execution has kept too much"},
}
Digest = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]


class JsonResponse(Response):
    """JSON that is there as bytes already."""

    media_type = "application/json"


# No route of the edge: a body of this size is read when it is its turn.
workers = APIRouter(
    prefix="/runtime/v1/executions/{execution_id}/outputs",
    tags=["runtime"],
    dependencies=[Depends(authenticate_runtime)],
)
router = APIRouter(prefix="/api/v1/executions/{execution_id}", tags=["executions"], route_class=EdgeRoute)


@workers.put("/{sha256}", status_code=204, responses=_REFUSALS)
async def keep_output(
    execution_id: str, sha256: Digest, request: Request, settings: SettingsDep, database: DatabaseDep
) -> None:
    """Keep an output that is too large for the journal; the same again is harmless."""
    identifier = parse_execution_id(execution_id)
    async with database.objects.turn():
        body = await read_body(request, settings.result_max_bytes)
        stored = stored_output(body)
        if stored.sha256 != sha256:
            raise Problem(422, "invalid_request", f"The body must have the digest {sha256}; got {stored.sha256}.")
        async with database.system() as session:
            found = await lock_execution(session, identifier)
            if found is None:
                raise not_found("execution", identifier)
            if found.row.status in ENDED:
                raise Problem(409, "stale_lease", f"The execution has ended: {found.row.status}.")
            organization_id = found.row.organization_id
            kept = await OutputService(session, organization_id, settings).announce(identifier, stored)
        await write(database.objects, organization_id, kept, body)


@workers.get("/{sha256}", response_class=Response, responses=_LOST)
async def load_output(execution_id: str, sha256: Digest, settings: SettingsDep, database: DatabaseDep) -> Response:
    """Return an output that was kept, of this execution or another of its organisation."""
    identifier = parse_execution_id(execution_id)
    async with database.system() as session:
        found = await find_execution(session, identifier)
        if found is None:
            raise not_found("execution", identifier)
        organization_id = found.row.organization_id
        kept = await OutputService(session, organization_id, settings).find(sha256)
    async with database.objects.turn():
        data = await read(database.objects, organization_id, kept)
    return Response(data, media_type="application/octet-stream")


@router.get("/output", response_class=Response, responses=_JSON, dependencies=[permit("execution:read")])
async def get_execution_output(
    execution_id: str, caller: CallerDep, settings: SettingsDep, database: DatabaseDep
) -> Response:
    """Return an execution's output alone, however large it is."""
    identifier = parse_execution_id(execution_id)
    async with database.transaction(caller.organization_id) as session:
        row = await ExecutionRepository(session, caller.organization_id).get(identifier)
    if row is None:
        raise not_found("execution", execution_id)
    return await _output(database, settings, caller.organization_id, row.output, row.output_ref)


@router.get(
    "/steps/{step_id}/output", response_class=Response, responses=_JSON, dependencies=[permit("execution:read")]
)
async def get_step_output(
    execution_id: str, step_id: str, caller: CallerDep, settings: SettingsDep, database: DatabaseDep
) -> Response:
    """Return a step's output alone, however large it is; of a step in a map by its id there, ``map[0].step``."""
    identifier = parse_execution_id(execution_id)
    async with database.transaction(caller.organization_id) as session:
        row = await ExecutionRepository(session, caller.organization_id).step(identifier, step_id)
    if row is None:
        raise not_found("result of step", step_id)
    return await _output(database, settings, caller.organization_id, row.output, row.output_ref)


async def _output(
    database: Database, settings: Settings, organization_id: UUID, output: object, reference: object
) -> Response:
    if reference is None:
        return JsonResponse(orjson.dumps(output))
    return JsonResponse(await download(database, settings, organization_id, StoredOutput.model_validate(reference)))
