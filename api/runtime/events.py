"""Events that steps emit."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api.events.cloudevents import CloudEvent
from api.events.service import EventService
from api.executions.repository import ENDED
from api.problems import Problem, not_found
from api.runtime.repository import find_execution
from api.settings import Settings
from api.workflows.plans import PlanCache
from operators.execution.calls import MAX_DEPTH
from operators.execution.identity import event_id
from operators.execution.records import Emission, EmittedEvent


async def emit_event(
    session: AsyncSession, execution_id: UUID, emission: Emission, settings: Settings, plans: PlanCache
) -> EmittedEvent:
    """Raise an event in the execution's organisation; the same step and epoch again raise nothing new.

    :raises Problem: 404, 410 for an ended execution, 409 where too many executions started one another.
    """
    # The row is left to others: who hears the event may have to lock executions, this one too.
    found = await find_execution(session, execution_id)
    if found is None:
        raise not_found("execution", execution_id)
    row = found.row
    if row.status in ENDED:
        raise Problem(410, "execution_ended", f"The execution has ended: {row.status}.", execution_status=row.status)
    if row.depth + 1 > MAX_DEPTH:
        detail = f"At most {MAX_DEPTH} executions in a row may start one another; look for a loop of events."
        raise Problem(409, "depth_exceeded", detail)
    event = CloudEvent(
        id=event_id(str(execution_id), emission.epoch, emission.step_id),
        source=f"/{found.organization}/workflows/{found.workflow_id}",
        type=emission.type,
        subject=None,
        time=None,
        data=emission.data,
    )
    await EventService(session, row.organization_id, settings, plans).hear(event, depth=row.depth + 1)
    return EmittedEvent(event_id=event.id)
