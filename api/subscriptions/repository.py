"""SQL of subscriptions, and of the outbox of our own events: the deliveries to who subscribed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, any_, delete, func, insert, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from api.models import WebhookDelivery, WebhookSubscription

_now = func.clock_timestamp

BROKER_URL = "amqp:"
"""Stands for the broker's address."""


class SubscriptionRepository:
    """Subscriptions of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    async def lock(self) -> None:
        """Let one change of the organisation's subscriptions at a time through, until the transaction ends."""
        name = f"{self._organization_id}:subscriptions"
        await self._session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 3))))

    async def count(self) -> int:
        """Return how many there are."""
        query = select(func.count()).where(WebhookSubscription.organization_id == self._organization_id)
        return await self._session.scalar(query) or 0

    async def add(self, subscription_id: UUID, url: str, event_types: list[str], sealed: bytes) -> None:
        """Store a subscription."""
        await self._session.execute(
            insert(WebhookSubscription).values(
                organization_id=self._organization_id,
                id=subscription_id,
                url=url,
                event_types=event_types,
                sealed=sealed,
            )
        )

    async def all(self) -> Sequence[WebhookSubscription]:
        """Return all, the oldest first."""
        query = select(WebhookSubscription).where(WebhookSubscription.organization_id == self._organization_id)
        return (
            await self._session.scalars(query.order_by(WebhookSubscription.created_at, WebhookSubscription.id))
        ).all()

    async def find(self, subscription_id: UUID) -> WebhookSubscription | None:
        """Return a subscription as it is now."""
        return await self._session.scalar(
            select(WebhookSubscription).where(*self._is(subscription_id)).execution_options(populate_existing=True)
        )

    async def sealed(self, subscription_id: UUID) -> bytes | None:
        """Return a subscription's sealed secret."""
        return await self._session.scalar(select(WebhookSubscription.sealed).where(*self._is(subscription_id)))

    async def pause(self, subscription_id: UUID, *, paused: bool) -> None:
        """Hold what is to be delivered back, or let it go."""
        at: ColumnElement[datetime] | None = func.coalesce(WebhookSubscription.paused_at, _now()) if paused else None
        await self._session.execute(
            update(WebhookSubscription)
            .where(*self._is(subscription_id))
            .values(paused_at=at)
            .execution_options(synchronize_session=False)
        )

    async def remove(self, subscription_id: UUID) -> bool:
        """Remove a subscription and what is to be delivered to it; False if there is none."""
        removed = await self._session.execute(
            delete(WebhookSubscription)
            .where(*self._is(subscription_id))
            .returning(WebhookSubscription.id)
            .execution_options(synchronize_session=False)
        )
        return removed.first() is not None

    async def hears(self, event_type: str) -> bool:
        """Tell whether anybody subscribed to events of a type."""
        query = select(WebhookSubscription.id).where(*self._hearing(event_type)).limit(1)
        return await self._session.scalar(query) is not None

    async def put_out(self, event_type: str, execution_id: UUID | None, body: str) -> None:
        """Have an event delivered to everybody who subscribed to its type, once the transaction commits."""
        chosen = select(
            WebhookSubscription.organization_id,
            literal("event"),
            literal(execution_id, WebhookDelivery.execution_id.type),
            WebhookSubscription.id,
            literal(event_type),
            WebhookSubscription.url,
            literal(body),
            literal("pending"),
        ).where(*self._hearing(event_type))
        columns = ["organization_id", "kind", "execution_id", "subscription_id", "event_type", "url", "body", "status"]
        await self._session.execute(insert(WebhookDelivery).from_select(columns, chosen))

    async def put_out_to_broker(self, event_type: str, execution_id: UUID | None, body: str) -> None:
        """Have an event published to the broker, once the transaction commits."""
        await self._session.execute(
            insert(WebhookDelivery).values(
                organization_id=self._organization_id,
                kind="broker",
                execution_id=execution_id,
                event_type=event_type,
                # Where the broker is concerns nobody who may look at it.
                url=BROKER_URL,
                body=body,
                status="pending",
            )
        )

    def _hearing(self, event_type: str) -> tuple[ColumnElement[bool], ...]:
        types = WebhookSubscription.event_types
        return (
            WebhookSubscription.organization_id == self._organization_id,
            or_(func.cardinality(types) == 0, literal(event_type) == any_(types)),
        )

    def _is(self, subscription_id: UUID) -> tuple[ColumnElement[bool], ...]:
        return (
            WebhookSubscription.organization_id == self._organization_id,
            WebhookSubscription.id == subscription_id,
        )
