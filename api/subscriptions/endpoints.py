"""``/api/v1/subscriptions``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from api.auth import CallerDep, SettingsDep, permit
from api.edge import EdgeRoute
from api.ids import parse_id
from api.subscriptions.schemas import SubscriptionCreate, SubscriptionCreated, SubscriptionList, SubscriptionView
from api.subscriptions.service import SubscriptionService
from api.tenancy import Transaction

router = APIRouter(prefix="/api/v1/subscriptions", tags=["subscriptions"], route_class=EdgeRoute)


async def _service(session: Transaction, caller: CallerDep, settings: SettingsDep) -> SubscriptionService:
    return SubscriptionService(session, caller.organization_id, settings)


Service = Annotated[SubscriptionService, Depends(_service)]


@router.get("", dependencies=[permit("subscription:read")])
async def list_subscriptions(service: Service) -> SubscriptionList:
    """Return the addresses that hear the organisation's events."""
    return await service.all()


@router.post("", status_code=201, dependencies=[permit("subscription:manage")])
async def create_subscription(body: SubscriptionCreate, service: Service) -> SubscriptionCreated:
    """Have events sent to an address from now on. The answer has the signing secret, which is never shown again."""
    return await service.create(body)


@router.get("/{subscription_id}", dependencies=[permit("subscription:read")])
async def get_subscription(subscription_id: str, service: Service) -> SubscriptionView:
    """Return a subscription."""
    return await service.show(parse_id("subscription", subscription_id))


@router.post("/{subscription_id}/pause", dependencies=[permit("subscription:manage")])
async def pause_subscription(subscription_id: str, service: Service) -> SubscriptionView:
    """Hold its messages back; they are kept."""
    return await service.pause(parse_id("subscription", subscription_id), paused=True)


@router.post("/{subscription_id}/resume", dependencies=[permit("subscription:manage")])
async def resume_subscription(subscription_id: str, service: Service) -> SubscriptionView:
    """Let its messages go, those that waited too."""
    return await service.pause(parse_id("subscription", subscription_id), paused=False)


@router.delete("/{subscription_id}", status_code=204, dependencies=[permit("subscription:manage")])
async def delete_subscription(subscription_id: str, service: Service) -> None:
    """Remove a subscription with its messages."""
    await service.remove(parse_id("subscription", subscription_id))
