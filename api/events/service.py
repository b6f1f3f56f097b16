"""Hears events: the workflows that wait for one are started, each at most once."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api.events.cloudevents import CloudEvent
from api.events.repository import EventRepository, Subscription, SubscriptionRepository
from api.events.schemas import EventAccepted, Started
from api.executions.acceptance import Acceptance
from api.executions.repository import Origin
from api.problems import Problem
from api.settings import Settings
from api.workflows.plans import PlanCache
from compiler.expressions import EvaluationError, render_condition
from operators.execution.records import StepError


class EventService:
    """Events of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID, settings: Settings, plans: PlanCache) -> None:
        self._events = EventRepository(session, organization_id)
        self._subscriptions = SubscriptionRepository(session, organization_id)
        self._acceptance = Acceptance(session, organization_id, settings, plans)

    async def hear(self, event: CloudEvent, *, depth: int = 0) -> EventAccepted:
        """Start what waits for an event; one that was heard in the last 24 hours starts nothing.

        :param depth: Of the executions that it starts.
        """
        if not await self._events.hear(event.source, event.id, event.type):
            started = await self._events.started(event.source, event.id)
            return EventAccepted(event_id=event.id, executions=[Started.model_validate(each) for each in started or []])
        trigger = describe_trigger(event)
        executions: dict[str, Started] = {}
        for subscription in await self._subscriptions.of_type(event.type):
            # Two triggers of one workflow may both fit: it starts once. What did not fit leaves the other its chance.
            known = executions.get(subscription.workflow_id)
            if known is None or known.execution_id is None:
                outcome = await self._start(subscription, event, trigger, Origin(depth=depth))
                if outcome is not None:
                    executions[subscription.workflow_id] = outcome
        answer = EventAccepted(event_id=event.id, executions=list(executions.values()))
        kept = [each.model_dump(mode="json") for each in answer.executions]
        await self._events.note_started(event.source, event.id, kept)
        return answer

    async def _start(
        self, subscription: Subscription, event: CloudEvent, trigger: dict[str, Any], origin: Origin
    ) -> Started | None:
        """Start one workflow; None where its filter leaves the event out."""
        workflow_id = subscription.workflow_id
        try:
            if not _fits(subscription.filter, event.data, trigger):
                return None
            accepted = await self._acceptance.accept(workflow_id, input=event.data, trigger=trigger, origin=origin)
        except EvaluationError as error:
            message = f"the trigger's `filter` failed: {error.message}"
            return Started(workflow_id=workflow_id, error=StepError(code=error.code, message=message))
        except Problem as problem:
            return Started(workflow_id=workflow_id, error=StepError(code=problem.code, message=problem.detail))
        return Started(workflow_id=workflow_id, execution_id=accepted.execution_id)


def _fits(condition: str | None, data: Any, trigger: dict[str, Any]) -> bool:
    return condition is None or render_condition(condition, {"input": data, "trigger": trigger})


def describe_trigger(event: CloudEvent) -> dict[str, Any]:
    """Return the ``trigger`` of expressions."""
    attributes = {
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "time": event.time,
    }
    return {"type": "event", "method": None, "path": None, "headers": {}, "query": {}, "event": attributes}
