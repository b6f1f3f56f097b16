"""What callers see of deliveries."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel

DeliveryStatus = Literal["waiting", "pending", "delivered", "dead"]


class DeliveryView(BaseModel):
    """A message to an address, or one of kind ``broker`` to RabbitMQ, whose ``url`` says no more than that.

    A callback ``waits`` for the end of its execution. ``attempts`` counts those since it was last delivered again;
    ``next_attempt_at`` is of a pending one. ``response_status`` and ``error`` are of the last attempt.
    """

    id: UUID
    kind: Literal["callback", "event", "broker"]
    event_type: str
    url: str
    status: DeliveryStatus
    attempts: int
    execution_id: UUID | None
    subscription_id: UUID | None
    response_status: int | None
    error: str | None
    created_at: datetime
    next_attempt_at: datetime | None
    ended_at: datetime | None


class DeliveryList(BaseModel):
    """A page of deliveries, the newest first. ``next`` is the ``before`` of the next page; null on the last one."""

    deliveries: list[DeliveryView]
    next: UUID | None
