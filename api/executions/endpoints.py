"""``/api/v1/workflows/execute`` and ``/api/v1/executions``."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from api.auth import CallerDep, SettingsDep
from api.database import DatabaseDep, Transaction
from api.edge import EdgeRoute
from api.executions.repository import ENDED, Outcome
from api.executions.restarts import RestartService
from api.executions.schemas import (
    ExecutionAccepted,
    ExecutionCancelled,
    ExecutionCreate,
    ExecutionRestarted,
    ExecutionView,
)
from api.executions.service import ExecutionService, parse_execution_id
from api.executions.waiting import parse_wait, wait_for
from api.idempotency.keys import read_key
from api.notifications import ListenerDep
from api.workflows.plans import PlansDep
from operators.execution.local import MANUAL_TRIGGER

router = APIRouter(prefix="/api/v1", tags=["executions"], route_class=EdgeRoute)


_EXISTING: dict[int | str, dict[str, Any]] = {
    200: {"model": ExecutionAccepted, "description": "An execution that was there before"}
}
_ENDED: dict[int | str, dict[str, Any]] = {200: {"model": ExecutionCancelled, "description": "It has ended"}}


@router.post("/workflows/execute", status_code=202, responses=_EXISTING)
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
    again within 24 hours, by its ``Idempotency-Key``, starts nothing: 200 with the execution of the first one.
    """
    service = ExecutionService(session, caller.organization_id, settings, plans)
    key = read_key(request, "execute", body.model_dump(mode="json"))
    accepted = await service.accept(body.workflow_id, input=body.input, trigger=MANUAL_TRIGGER, key=key)
    response.headers["location"] = f"/api/v1/executions/{accepted.execution_id}"
    if accepted.existing:
        response.status_code = 200
    return accepted


@router.post("/executions/{execution_id}/cancel", status_code=202, responses=_ENDED)
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


@router.post("/executions/{execution_id}/retry", status_code=202)
async def retry_execution(
    execution_id: str, caller: CallerDep, settings: SettingsDep, plans: PlansDep, session: Transaction
) -> ExecutionRestarted:
    """Have a failed or cancelled execution go on where it failed: successes stay, the rest runs again."""
    service = RestartService(session, caller.organization_id, settings, plans)
    return await service.retry(parse_execution_id(execution_id))


@router.post("/executions/{execution_id}/rerun", status_code=202)
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


@router.get("/executions/{execution_id}")
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
) -> ExecutionView:
    """Return an execution with every step of its plan."""
    identifier = parse_execution_id(execution_id)
    seconds = parse_wait(wait, settings.max_wait_seconds)

    async def look() -> Outcome:
        async with database.transaction() as session:
            return await ExecutionService(session, caller.organization_id, settings, plans).outcome(identifier)

    if seconds:
        await wait_for(listener, [identifier], look, seconds=seconds, enough=lambda outcome: outcome.ended)
    async with database.transaction() as session:
        return await ExecutionService(session, caller.organization_id, settings, plans).show(identifier)
