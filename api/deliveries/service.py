"""Showing deliveries and having them delivered again."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api import notifications
from api.deliveries.repository import DeliveryRepository
from api.deliveries.schemas import DeliveryList, DeliveryStatus, DeliveryView
from api.models import WebhookDelivery
from api.problems import Problem, not_found


class DeliveryService:
    """Deliveries of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._deliveries = DeliveryRepository(session, organization_id)

    async def page(self, *, status: DeliveryStatus | None, before: UUID | None, limit: int) -> DeliveryList:
        """Return a page, the newest first."""
        found = await self._deliveries.page(status=status, before=before, limit=limit + 1)
        more = len(found) > limit
        return DeliveryList(
            deliveries=[_show(row) for row in found[:limit]], next=found[limit - 1].id if more else None
        )

    async def show(self, delivery_id: UUID) -> DeliveryView:
        """Return a delivery.

        :raises Problem: 404.
        """
        row = await self._deliveries.find(delivery_id)
        if row is None:
            raise not_found("delivery", delivery_id)
        return _show(row)

    async def redeliver(self, delivery_id: UUID) -> DeliveryView:
        """Have a message delivered again, whatever became of it; the receiver knows it by its ``webhook-id``.

        :raises Problem: 404; 409 where its execution has not ended.
        """
        before = await self.show(delivery_id)
        if not await self._deliveries.redeliver(delivery_id):
            detail = f"A callback must have its execution's end to tell; wait for execution {before.execution_id}."
            raise Problem(409, "still_waiting", detail)
        await notifications.notify(self._session, notifications.DELIVERIES)
        return await self.show(delivery_id)


def _show(row: WebhookDelivery) -> DeliveryView:
    return DeliveryView(
        id=row.id,
        kind=cast(Any, row.kind),
        event_type=row.event_type,
        url=row.url,
        status=cast(Any, row.status),
        attempts=row.attempts,
        execution_id=row.execution_id,
        subscription_id=row.subscription_id,
        response_status=row.response_status,
        error=row.error,
        created_at=row.created_at,
        next_attempt_at=row.available_at if row.status == "pending" else None,
        ended_at=row.ended_at,
    )
