"""``/api/v1/workflows/execute`` and ``/api/v1/executions``."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response

from api.audit.trail import note
from api.auth import CallerDep, SettingsDep, StillAllowed, permit, still
from api.database import DatabaseDep
from api.edge import EdgeRoute
from api.executions.comparison import ExecutionComparison, compare_executions
from api.executions.listing.schemas import ExecutionPage
from api.executions.listing.service import list_executions
from api.executions.live.feed import Feed, Position
from api.executions.live.stream import EventStream, StreamsDep, tell
from api.executions.repository import ENDED, Outcome
from api.executions.restarts import RestartService
from api.executions.schemas import (
    ExecutionAccepted,
    ExecutionCancelled,
    ExecutionCreate,
    ExecutionList,
    ExecutionRestarted,
    ExecutionView,
    Part,
)
from api.executions.service import ExecutionService, parse_execution_id
from api.executions.waiting import parse_wait, wait_for
from api.idempotency.keys import REPLAYED, read_key
from api.notifications import ListenerDep
from api.tenancy import Transaction
from api.workflows.plans import PlansDep
from operators.execution.local import MANUAL_TRIGGER

router = APIRouter(prefix="/api/v1", tags=["executions"], route_class=EdgeRoute)


_EXISTING: dict[int | str, dict[str, Any]] = {
    200: {"model": ExecutionAccepted, "description": "An execution that was there before"}
}
_ENDED: dict[int | str, dict[str, Any]] = {200: {"model": ExecutionCancelled, "description": "It has ended"}}


@router.post("/workflows/execute", status_code=202, responses=_EXISTING, dependencies=[permit("execution:run")])
async def execute_workflow(
    body: ExecutionCreate,
    request: Request,
    response: Response,
    caller: CallerDep,
    settings: SettingsDep,
    plans: PlansDep,
    session: Transaction,
) -> ExecutionAccepted:
    """Start the current version of a workflow; ``Location`` is where to see the execution.

    200 with an unfinished execution instead of a new one, where the workflow's ``conflict`` says so. The same request
    again within 24 hours, by its ``Idempotency-Key``, starts nothing and has the same answer, with the header
    ``Idempotent-Replayed``; while the first is being answered, 409.
    """
    service = ExecutionService(session, caller.organization_id, settings, plans)
    key = read_key(request, "execute", body.model_dump(mode="json"))
    accepted = await service.accept(
        body.workflow_id,
        input=body.input,
        trigger=MANUAL_TRIGGER,
        keys=[key] if key else [],
        environment=body.environment,
    )
    note(resource=f"executions/{accepted.execution_id}")
    response.headers["location"] = f"/api/v1/executions/{accepted.execution_id}"
    if accepted.existing:
        response.status_code = 200
    if accepted.replayed:
        response.headers[REPLAYED] = "true"
    return accepted


@router.get("/executions", dependencies=[permit("execution:read")])
async def get_executions(
    asked: Annotated[ExecutionPage, Query()], caller: CallerDep, settings: SettingsDep, session: Transaction
) -> ExecutionList:
    """Return executions, the newest first, without what they were given and made."""
    return await list_executions(session, caller.organization_id, settings, asked)


@router.post(
    "/executions/{execution_id}/cancel",
    status_code=202,
    responses=_ENDED,
    dependencies=[permit("execution:cancel")],
)
async def cancel_execution(
    execution_id: str,
    response: Response,
    caller: CallerDep,
    settings: SettingsDep,
    plans: PlansDep,
    session: Transaction,
) -> ExecutionCancelled:
    """Cancel an execution: 200 where it has ended, now or before, 202 where its runners are still to hear of it."""
    service = ExecutionService(session, caller.organization_id, settings, plans)
    cancelled = await service.cancel(parse_execution_id(execution_id))
    if cancelled.status in ENDED:
        response.status_code = 200
    return cancelled


@router.post("/executions/{execution_id}/retry", status_code=202, dependencies=[permit("execution:run")])
async def retry_execution(
    execution_id: str, caller: CallerDep, settings: SettingsDep, plans: PlansDep, session: Transaction
) -> ExecutionRestarted:
    """Have a failed or cancelled execution go on where it failed: successes stay, the rest runs again."""
    service = RestartService(session, caller.organization_id, settings, plans)
    return await service.retry(parse_execution_id(execution_id))


@router.post("/executions/{execution_id}/rerun", status_code=202, dependencies=[permit("execution:run")])
async def rerun_execution(
    execution_id: str,
    caller: CallerDep,
    settings: SettingsDep,
    plans: PlansDep,
    session: Transaction,
    step_id: Annotated[
        str | None, Query(alias="from", description="The first task to run again. Without it, all tasks do.")
    ] = None,
) -> ExecutionRestarted:
    """Have an ended execution run again from a task on, successes too, in a new epoch."""
    service = RestartService(session, caller.organization_id, settings, plans)
    return await service.rerun(parse_execution_id(execution_id), step_id)


@router.get("/executions/{execution_id}", dependencies=[permit("execution:read")])
async def get_execution(
    execution_id: str,
    caller: CallerDep,
    settings: SettingsDep,
    plans: PlansDep,
    database: DatabaseDep,
    listener: ListenerDep,
    wait: Annotated[
        str, Query(description="Answer when the execution has ended, or after this time, like '30s'.")
    ] = "0",
    include: Annotated[
        list[Part] | None,
        Query(description="The parts to answer, and no others. Without it: all but `step_inputs`.", max_length=5),
    ] = None,
) -> ExecutionView:
    """Return an execution with every step of its plan."""
    identifier = parse_execution_id(execution_id)
    seconds = parse_wait(wait, settings.max_wait_seconds)

    async def look() -> Outcome:
        async with database.transaction(caller.organization_id) as session:
            return await ExecutionService(session, caller.organization_id, settings, plans).outcome(identifier)

    if seconds:
        await wait_for(listener, [identifier], look, seconds=seconds, enough=lambda outcome: outcome.ended)
    async with database.transaction(caller.organization_id) as session:
        return await ExecutionService(session, caller.organization_id, settings, plans).show(identifier, include)


@router.get("/executions/{execution_id}/compare/{other_id}", dependencies=[permit("execution:read")])
async def compare_execution(
    execution_id: str, other_id: str, caller: CallerDep, settings: SettingsDep, plans: PlansDep, session: Transaction
) -> ExecutionComparison:
    """Return how two executions differ, step by step, also where they are of different versions."""
    service = ExecutionService(session, caller.organization_id, settings, plans)
    left = await service.show(parse_execution_id(execution_id))
    right = await service.show(parse_execution_id(other_id))
    # Outputs may be large, and other requests are not to wait for them.
    return await asyncio.to_thread(compare_executions, left, right)


_EVENT = {
    "type": "object",
    "required": ["data"],
    "properties": {
        "id": {"type": "string"},
        "event": {"enum": ["step", "execution"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}
_STREAM: dict[int | str, dict[str, object]] = {
    200: {
        "description": "Events `step` and `execution`, until the execution has ended.",
        "content": {"text/event-stream": {"schema": _EVENT}},
    },
    204: {"description": "The execution has ended, and `Last-Event-ID` is of its end: there is no more to tell."},
}


@router.get(
    "/executions/{execution_id}/events",
    response_class=Response,
    responses=_STREAM,
    dependencies=[permit("execution:read")],
)
async def follow_execution(
    execution_id: str,
    caller: CallerDep,
    settings: SettingsDep,
    database: DatabaseDep,
    listener: ListenerDep,
    streams: StreamsDep,
    is_allowed: Annotated[StillAllowed, still("execution:read")],
    last_event_id: Annotated[str | None, Header(description="The `id` of the last event that arrived.")] = None,
) -> Response:
    """Tell an execution's steps and its own changes as they are journaled, as server-sent events."""
    identifier = parse_execution_id(execution_id)
    feed = Feed(database, caller.organization_id, identifier, Position.read(last_event_id))
    if await feed.is_over():
        return Response(status_code=204)
    streams.take(caller.organization_id)
    events = tell(feed, listener, identifier, settings.event_heartbeat_seconds, is_allowed)
    return EventStream(events, streams, caller.organization_id)
