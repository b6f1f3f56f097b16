"""``/api/v1/deliveries``."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from api.auth import CallerDep, permit
from api.deliveries.schemas import DeliveryList, DeliveryStatus, DeliveryView
from api.deliveries.service import DeliveryService
from api.edge import EdgeRoute
from api.ids import parse_id
from api.tenancy import Transaction

router = APIRouter(prefix="/api/v1/deliveries", tags=["deliveries"], route_class=EdgeRoute)


async def _service(session: Transaction, caller: CallerDep) -> DeliveryService:
    return DeliveryService(session, caller.organization_id)


Service = Annotated[DeliveryService, Depends(_service)]


@router.get("", dependencies=[permit("delivery:read")])
async def list_deliveries(
    service: Service,
    status: DeliveryStatus | None = None,
    before: Annotated[UUID | None, Query(description="The `next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> DeliveryList:
    """Return the messages to callers' and subscribers' addresses, the newest first; ``dead`` ones were given up."""
    return await service.page(status=status, before=before, limit=limit)


@router.get("/{delivery_id}", dependencies=[permit("delivery:read")])
async def get_delivery(delivery_id: str, service: Service) -> DeliveryView:
    """Return a message."""
    return await service.show(parse_id("delivery", delivery_id))


@router.post("/{delivery_id}/redeliver", status_code=202, dependencies=[permit("delivery:manage")])
async def redeliver(delivery_id: str, service: Service) -> DeliveryView:
    """Have a message delivered again, also one that arrived. Its receiver knows it by the same ``webhook-id``."""
    return await service.redeliver(parse_id("delivery", delivery_id))
