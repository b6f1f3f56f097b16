"""SQL of deliveries. Who delivers takes those of every organisation; each carries its own."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, TextClause, func, insert, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from api.models import WebhookDelivery

_now = func.clock_timestamp


def _take(which: str) -> TextClause:
    """Return what takes deliveries, the first few of each organisation in turns: one's burst keeps no other waiting.

    What is being changed just now, and what another process takes, is left for the next round.

    :param which: A condition that an index is made for.
    """
    return text(
        f"""
        WITH due AS (
            SELECT next.organization_id, next.id, next.turn
            FROM organizations o CROSS JOIN LATERAL (
                SELECT d.organization_id, d.id, row_number() OVER (ORDER BY d.available_at, d.id) AS turn
                FROM webhook_deliveries d
                LEFT JOIN webhook_subscriptions s ON (s.organization_id, s.id) = (d.organization_id, d.subscription_id)
                WHERE d.organization_id = o.id AND d.status = 'pending' AND d.available_at <= clock_timestamp()
                    AND {which} AND s.paused_at IS NULL
                ORDER BY d.available_at, d.id LIMIT :each
            ) next
            WHERE o.id <> ALL(CAST(:busy AS uuid[]))
            ORDER BY next.turn LIMIT :count
        ),
        chosen AS (
            SELECT d.organization_id, d.id FROM webhook_deliveries d JOIN due USING (organization_id, id)
            WHERE d.status = 'pending' AND d.available_at <= clock_timestamp()
            FOR UPDATE OF d SKIP LOCKED
        )
        UPDATE webhook_deliveries d
        SET attempts = attempts + 1, available_at = clock_timestamp() + make_interval(secs => :hold_seconds)
        FROM chosen
        WHERE (d.organization_id, d.id) = (chosen.organization_id, chosen.id)
        RETURNING d.organization_id, d.id, d.subscription_id, d.event_type, d.url, d.body, d.attempts,
            (SELECT slug FROM organizations WHERE organizations.id = d.organization_id) AS organization
        """  # noqa: S608  # conditions of ours
    )


# Each has an index, so that what waits for the broker is not looked through for what waits for addresses.
_TAKE_FOR_ADDRESSES = _take("d.kind <> 'broker'")
_TAKE_FOR_BROKER = _take("d.kind = 'broker'")


@dataclass(frozen=True)
class Taken:
    """A delivery that is to be tried now.

    :param attempts: How often it was taken, this time included.
    :param organization: The organisation's slug.
    """

    organization_id: UUID
    id: UUID
    subscription_id: UUID | None
    event_type: str
    url: str
    body: str
    attempts: int
    organization: str


async def take_deliveries(
    session: AsyncSession, count: int, *, each: int, hold_seconds: float, busy: Collection[UUID] = ()
) -> list[Taken]:
    """Take deliveries to addresses that are due; they come back after ``hold_seconds`` unless they are settled by then.

    :param each: At most so many of one organisation.
    :param busy: Organisations whose turn it is not.
    """
    values = {"count": count, "each": each, "hold_seconds": hold_seconds, "busy": list(busy)}
    return [Taken(*row) for row in await session.execute(_TAKE_FOR_ADDRESSES, values)]


async def take_for_broker(session: AsyncSession, count: int, *, hold_seconds: float) -> list[Taken]:
    """Take deliveries to the broker like :func:`take_deliveries`, the oldest first."""
    values: dict[str, object] = {"count": count, "each": count, "hold_seconds": hold_seconds, "busy": []}
    # Their ids are made in order of time.
    return sorted((Taken(*row) for row in await session.execute(_TAKE_FOR_BROKER, values)), key=lambda each: each.id)


class DeliveryRepository:
    """Deliveries of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    async def add_callback(self, execution_id: UUID, url: str, event_type: str) -> None:
        """Note where the end of an execution is to be told."""
        await self._session.execute(
            insert(WebhookDelivery).values(
                organization_id=self._organization_id,
                kind="callback",
                execution_id=execution_id,
                event_type=event_type,
                url=url,
                status="waiting",
            )
        )

    async def is_waited_for(self, execution_id: UUID) -> bool:
        """Tell whether a callback waits for the end of an execution."""
        query = select(WebhookDelivery.id).where(*self._waiting(execution_id)).limit(1)
        return await self._session.scalar(query) is not None

    async def release(self, execution_id: UUID, body: str) -> None:
        """Have the callbacks of an execution delivered."""
        await self._session.execute(
            update(WebhookDelivery)
            .where(*self._waiting(execution_id))
            .values(status="pending", body=body, available_at=_now())
            .execution_options(synchronize_session=False)
        )

    async def settle(self, taken: Taken, *, response_status: int | None, error: str | None, dead: bool) -> None:
        """Note that a delivery arrived, or was given up; unless it was taken anew since."""
        await self._update(
            taken,
            status="dead" if dead else "delivered",
            response_status=response_status,
            error=error,
            ended_at=_now(),
        )

    async def postpone(self, taken: Taken, seconds: float, *, response_status: int | None, error: str) -> None:
        """Make a delivery due again later, unless it was taken anew since."""
        due = _now() + timedelta(seconds=seconds)
        await self._update(taken, available_at=due, response_status=response_status, error=error)

    async def settle_all(self, taken: Sequence[Taken]) -> None:
        """Note that deliveries arrived, unless they were taken anew since."""
        await self._session.execute(
            update(WebhookDelivery)
            .where(*self._still(taken))
            .values(status="delivered", response_status=None, error=None, ended_at=_now())
            .execution_options(synchronize_session=False)
        )

    async def give_back(self, taken: Sequence[Taken]) -> None:
        """Undo that deliveries were taken: no attempt was made that counts. They are due in their old order."""
        await self._session.execute(
            update(WebhookDelivery)
            .where(*self._still(taken))
            .values(attempts=WebhookDelivery.attempts - 1, available_at=WebhookDelivery.created_at)
            .execution_options(synchronize_session=False)
        )

    def _still(self, taken: Sequence[Taken]) -> tuple[ColumnElement[bool], ...]:
        return (
            WebhookDelivery.organization_id == self._organization_id,
            tuple_(WebhookDelivery.id, WebhookDelivery.attempts).in_([(each.id, each.attempts) for each in taken]),
            WebhookDelivery.status == "pending",
        )

    async def _update(self, taken: Taken, **values: object) -> None:
        await self._session.execute(
            update(WebhookDelivery)
            .where(*self._still([taken]))
            .values(**values)
            .execution_options(synchronize_session=False)
        )

    async def page(self, *, status: str | None, before: UUID | None, limit: int) -> Sequence[WebhookDelivery]:
        """Return deliveries, the newest first."""
        query = select(WebhookDelivery).where(WebhookDelivery.organization_id == self._organization_id)
        if status is not None:
            query = query.where(WebhookDelivery.status == status)
        if before is not None:
            query = query.where(WebhookDelivery.id < before)
        return (await self._session.scalars(query.order_by(WebhookDelivery.id.desc()).limit(limit))).all()

    async def find(self, delivery_id: UUID) -> WebhookDelivery | None:
        """Return a delivery as it is now."""
        return await self._session.scalar(
            select(WebhookDelivery)
            .where(WebhookDelivery.organization_id == self._organization_id, WebhookDelivery.id == delivery_id)
            .execution_options(populate_existing=True)
        )

    async def redeliver(self, delivery_id: UUID) -> bool:
        """Make a delivery due now, its attempts counted anew; False where it has no body yet."""
        updated = await self._session.execute(
            update(WebhookDelivery)
            .where(
                WebhookDelivery.organization_id == self._organization_id,
                WebhookDelivery.id == delivery_id,
                WebhookDelivery.status != "waiting",
            )
            .values(status="pending", attempts=0, available_at=_now(), error=None, response_status=None, ended_at=None)
            .returning(WebhookDelivery.id)
            .execution_options(synchronize_session=False)
        )
        return updated.first() is not None

    def _waiting(self, execution_id: UUID) -> tuple[ColumnElement[bool], ...]:
        return (
            WebhookDelivery.organization_id == self._organization_id,
            WebhookDelivery.execution_id == execution_id,
            WebhookDelivery.status == "waiting",
        )
