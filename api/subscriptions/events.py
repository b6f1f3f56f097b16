"""Our own events: CloudEvents, written to the outbox in the transaction of what they tell."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from api import notifications
from api.database import BROKERED
from api.subscriptions.event_types import EventType
from api.subscriptions.repository import SubscriptionRepository

SOURCE = "/agent-factory"


async def tell(
    session: AsyncSession,
    organization_id: UUID,
    event_type: EventType,
    subject: str,
    data: dict[str, Any],
    *,
    execution_id: UUID | None = None,
) -> None:
    """Have an event delivered to who subscribed to it, and to the broker where there is one that hears it. Inputs and
    outputs are never in it: ids, by which who may reads.

    :param subject: What it is about, as a path of the API.
    """
    subscriptions = SubscriptionRepository(session, organization_id)
    has_subscriber, is_brokered = await subscriptions.hears(event_type), event_type in session.info[BROKERED]
    if not has_subscriber and not is_brokered:
        return
    body = as_cloud_event(event_type, subject, data)
    if has_subscriber:
        await subscriptions.put_out(event_type, execution_id, body)
    if is_brokered:
        await subscriptions.put_out_to_broker(event_type, execution_id, body)
    await notifications.notify(session, notifications.DELIVERIES)


def as_cloud_event(event_type: EventType, subject: str, data: dict[str, Any]) -> str:
    """Return an event as structured JSON."""
    event = {
        "specversion": "1.0",
        "id": str(uuid4()),
        "source": SOURCE,
        "type": event_type,
        "subject": subject,
        "time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": data,
    }
    return orjson.dumps(event).decode()
