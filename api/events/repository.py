"""SQL of events and of who waits for them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from api.models import Agent, EventSubscription, ReceivedEvent

REMEMBERED = timedelta(hours=24)
"""How long an event that comes again is known."""

_now = func.clock_timestamp


@dataclass(frozen=True)
class Subscription:
    """A workflow that waits for events of a type."""

    workflow_id: str
    filter: str | None


class SubscriptionRepository:
    """Subscriptions of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    async def of_type(self, event_type: str) -> list[Subscription]:
        """Return who waits for events of a type, by workflow and in the order of its triggers."""
        query = (
            select(Agent.workflow_id, EventSubscription.filter)
            .join(
                Agent,
                (Agent.organization_id == EventSubscription.organization_id) & (Agent.id == EventSubscription.agent_id),
            )
            .where(EventSubscription.organization_id == self._organization_id, EventSubscription.type == event_type)
            .order_by(Agent.workflow_id, EventSubscription.number)
        )
        return [Subscription(*row) for row in await self._session.execute(query)]

    async def replace(self, agent_id: UUID, subscriptions: list[tuple[str, str | None]]) -> None:
        """Set what a workflow waits for: types and filters."""
        await self._session.execute(
            delete(EventSubscription).where(
                EventSubscription.organization_id == self._organization_id, EventSubscription.agent_id == agent_id
            )
        )
        rows = [
            {"organization_id": self._organization_id, "agent_id": agent_id, "number": n, "type": kind, "filter": test}
            for n, (kind, test) in enumerate(subscriptions)
        ]
        if rows:
            await self._session.execute(insert(EventSubscription), rows)


class EventRepository:
    """Events that one organisation heard lately."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    async def hear(self, source: str, event_id: str, event_type: str) -> bool:
        """Note an event; False if it was heard before. Waits while another transaction hears the same one."""
        statement = insert(ReceivedEvent).values(
            organization_id=self._organization_id, source=source, id=event_id, type=event_type
        )
        statement = statement.on_conflict_do_update(
            index_elements=["organization_id", "source", "id"],
            set_={"type": event_type, "started": None, "received_at": _now()},
            where=ReceivedEvent.received_at < _now() - REMEMBERED,
        )
        return (await self._session.execute(statement.returning(ReceivedEvent.id))).first() is not None

    async def started(self, source: str, event_id: str) -> Any:
        """Return what a heard event started."""
        return await self._session.scalar(select(ReceivedEvent.started).where(*self._is(source, event_id)))

    async def note_started(self, source: str, event_id: str, started: list[dict[str, Any]]) -> None:
        """Keep what an event started."""
        await self._session.execute(update(ReceivedEvent).where(*self._is(source, event_id)).values(started=started))

    def _is(self, source: str, event_id: str) -> tuple[Any, ...]:
        return (
            ReceivedEvent.organization_id == self._organization_id,
            ReceivedEvent.source == source,
            ReceivedEvent.id == event_id,
        )
