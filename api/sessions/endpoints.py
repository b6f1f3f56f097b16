"""``/api/v1/auth``: sessions. Who calls ``token`` and ``refresh`` shows a secret of their own."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from api.auth import CallerDep, UserDep, permit
from api.database import DatabaseDep
from api.edge import EdgeRoute
from api.gateway.admission import address_of
from api.sessions.schemas import (
    AccessToken,
    CallerView,
    LoginCreate,
    RefreshCreate,
    SessionList,
    SwitchCreate,
    TokenAnswer,
)
from api.sessions.service import SessionService
from api.signing.endpoints import KeysDep

router = APIRouter(prefix="/api/v1/auth", tags=["identity"], route_class=EdgeRoute)


async def keep_secret(response: Response) -> None:
    """Keep an answer out of every cache."""
    response.headers["cache-control"] = "no-store"


async def _service(database: DatabaseDep, keys: KeysDep) -> SessionService:
    return SessionService(database, keys)


Service = Annotated[SessionService, Depends(_service)]
Secret = Depends(keep_secret)


@router.post("/token", dependencies=[Secret])
async def log_in(body: LoginCreate, request: Request, service: Service) -> TokenAnswer:
    """Log in with e-mail address and password."""
    client = request.headers.get("user-agent", "")[:200]
    return await service.log_in(
        body.email, body.password, body.organization, address=address_of(request), client=client
    )


@router.post("/refresh", dependencies=[Secret])
async def refresh_session(body: RefreshCreate, request: Request, service: Service) -> TokenAnswer:
    """Get new tokens for a refresh token, which can be used once. A second use revokes the session."""
    return await service.refresh(body.refresh_token, address=address_of(request))


@router.post("/switch", dependencies=[permit("account:own"), Secret])
async def switch_organization(body: SwitchCreate, caller: UserDep, service: Service) -> AccessToken:
    """Act for another organisation: a new access token, and void ones of before."""
    return await service.switch(caller, body.organization)


@router.post("/logout", status_code=204, dependencies=[permit("account:own")])
async def log_out(caller: UserDep, service: Service) -> None:
    """End the session of the access token."""
    await service.revoke(caller, caller.session_id)


@router.get("/me", dependencies=[permit("account:own")])
async def get_caller(caller: CallerDep, service: Service) -> CallerView:
    """Return who calls, and what they may."""
    name, organizations = await service.profile(caller)
    return CallerView(
        user_id=caller.user_id,
        email=caller.email,
        name=name,
        organization=caller.organization,
        role=caller.role,
        via=caller.via,
        permissions=sorted(caller.permissions),
        organizations=organizations,
    )


@router.get("/sessions", dependencies=[permit("account:own")])
async def list_sessions(caller: UserDep, service: Service) -> SessionList:
    """Return the caller's sessions."""
    return await service.sessions(caller)


@router.delete("/sessions", status_code=204, dependencies=[permit("account:own")])
async def revoke_sessions(caller: UserDep, service: Service) -> None:
    """End all sessions of the caller, this one too."""
    await service.revoke(caller, None)


@router.delete("/sessions/{session_id}", status_code=204, dependencies=[permit("account:own")])
async def revoke_session(session_id: UUID, caller: UserDep, service: Service) -> None:
    """End a session of the caller."""
    await service.revoke(caller, session_id)
