"""SQL of retention besides that of executions: rows of the whole installation, by their age alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, literal_column, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from api.events.repository import REMEMBERED
from api.models import (
    Attempts,
    IdempotencyKey,
    OidcFlow,
    OutboxEntry,
    PasswordReset,
    PreparedInput,
    ReceivedEvent,
    UserSession,
    WebhookDelivery,
)
from api.settings import Settings


@dataclass(frozen=True)
class Aged:
    """Rows of a table that are removed once they are old.

    :param name: What the report calls them.
    :param since: The column that says how old a row is.
    :param only: Which rows, if not all.
    """

    name: str
    since: InstrumentedAttribute[datetime]
    kept: timedelta
    only: ColumnElement[bool] | None = None


_OF_LOGINS: dict[str, InstrumentedAttribute[datetime]] = {
    "sessions": UserSession.expires_at,
    "password_links": PasswordReset.expires_at,
    "logins_begun": OidcFlow.expires_at,
    "attempts": Attempts.began_at,
}
"""What is of no use any more the day after; a session takes its refresh tokens along."""


def aged_rows(settings: Settings) -> Iterator[Aged]:
    """Return what is removed by age. What belongs to an execution goes with it and is not named here."""
    yield Aged("received_events", ReceivedEvent.received_at, REMEMBERED)
    yield Aged("prepared_inputs", PreparedInput.created_at, timedelta(days=settings.input_retention_days))
    dead = timedelta(days=settings.outbox_retention_days)
    buried_at: Any = OutboxEntry.buried_at  # of a dead one it is never null
    yield Aged("dead_outbox_entries", buried_at, dead, OutboxEntry.dead.is_(True))
    ended_at: Any = WebhookDelivery.ended_at  # of what was delivered or given up it is never null
    yield Aged("webhook_deliveries", ended_at, dead)
    yield Aged("idempotency_keys", IdempotencyKey.expires_at, timedelta())
    for name, since in _OF_LOGINS.items():
        yield Aged(name, since, timedelta(days=1))


async def remove_aged(session: AsyncSession, aged: Aged, now: datetime, count: int) -> int:
    """Remove some rows that are too old; return how many. What someone works with is left."""
    table = aged.since.class_.__table__
    # A row's place in the table: no key has to be named, and a row that was changed meanwhile is elsewhere.
    place: ColumnElement[Any] = literal_column("ctid")
    old = (
        select(place)
        .select_from(table)
        .where(aged.since < now - aged.kept, true() if aged.only is None else aged.only)
        .limit(count)
        .with_for_update(skip_locked=True)
    )
    removed: Any = await session.execute(delete(table).where(place.in_(old)))
    return int(removed.rowcount)
