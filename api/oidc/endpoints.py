"""``/api/v1/auth/oidc``: log in by a provider. Nothing here redirects anybody anywhere."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from api.auth import SettingsDep
from api.database import DatabaseDep
from api.edge import EdgeRoute
from api.gateway.admission import address_of
from api.oidc.schemas import FlowCreate, FlowFinish, FlowView, ProviderList
from api.oidc.service import OidcService
from api.sessions.endpoints import Secret
from api.sessions.endpoints import Service as Sessions
from api.sessions.schemas import TokenAnswer

router = APIRouter(prefix="/api/v1/auth/oidc", tags=["identity"], route_class=EdgeRoute)


async def _service(request: Request, database: DatabaseDep, settings: SettingsDep, sessions: Sessions) -> OidcService:
    return OidcService(database, settings, request.app.state.oidc, sessions)


Service = Annotated[OidcService, Depends(_service)]


@router.get("")
async def list_providers(settings: SettingsDep) -> ProviderList:
    """Return the providers by which people may log in."""
    return ProviderList(providers=[provider.name for provider in settings.oidc_providers])


@router.post("/{provider}/begin", dependencies=[Secret])
async def begin_login(provider: str, body: FlowCreate, service: Service) -> FlowView:
    """Begin a login: go to the address of the answer, and keep its token for the end."""
    return await service.begin(provider, body)


@router.post("/{provider}/finish", dependencies=[Secret])
async def finish_login(provider: str, body: FlowFinish, request: Request, service: Service) -> TokenAnswer:
    """End a login with what the provider sent back. It can be tried once."""
    client = request.headers.get("user-agent", "")[:200]
    return await service.finish(provider, body, address=address_of(request), client_name=client)
