"""``/api/v1/api-keys``."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends

from api.api_keys.schemas import ApiKeyCreate, ApiKeyList, ApiKeyMade
from api.api_keys.service import ApiKeyService
from api.auth import CallerDep, permit
from api.edge import EdgeRoute
from api.sessions.endpoints import Secret
from api.tenancy import Transaction

router = APIRouter(prefix="/api/v1/api-keys", tags=["identity"], route_class=EdgeRoute)


async def _service(session: Transaction, caller: CallerDep) -> ApiKeyService:
    return ApiKeyService(session, caller)


Service = Annotated[ApiKeyService, Depends(_service)]


@router.post("", status_code=201, dependencies=[permit("api_key:own"), Secret])
async def make_api_key(body: ApiKeyCreate, service: Service) -> ApiKeyMade:
    """Make a key; the answer shows it this once."""
    return await service.make(body)


@router.get("", dependencies=[permit("api_key:own")])
async def list_api_keys(service: Service) -> ApiKeyList:
    """Return the own keys; with `api_key:manage` everybody's."""
    return await service.list()


@router.delete("/{key_id}", status_code=204, dependencies=[permit("api_key:own")])
async def revoke_api_key(key_id: UUID, service: Service) -> None:
    """Revoke an own key; with `api_key:manage` anybody's."""
    await service.revoke(key_id)
