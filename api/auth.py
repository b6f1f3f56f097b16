"""Who calls, and what for: bearer tokens and permissions.

An endpoint of ``/api/v1`` without a permission and not in ``PUBLIC`` keeps the application from starting.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.audit.trail import action_of, admit
from api.gateway.admission import counted
from api.identity.callers import Authenticator, Caller, unauthorized
from api.identity.permissions import PERMISSIONS
from api.problems import Problem
from api.settings import Settings

__all__ = [
    "Caller",
    "CallerDep",
    "Permission",
    "SettingsDep",
    "StillAllowed",
    "UserDep",
    "authenticate_runtime",
    "permit",
    "still",
]

PREFIX = "/api/v1"
AUDITED = "x-audit"
PUBLIC = frozenset(
    {
        ("POST", "/api/v1/auth/token"),
        ("POST", "/api/v1/auth/refresh"),
        ("POST", "/api/v1/auth/password/forgotten"),
        ("POST", "/api/v1/auth/password/reset"),
        ("POST", "/api/v1/auth/invitations/accept"),
        ("GET", "/api/v1/auth/oidc"),
        ("POST", "/api/v1/auth/oidc/{provider}/begin"),
        ("POST", "/api/v1/auth/oidc/{provider}/finish"),
    }
)
"""The endpoints of ``/api/v1`` that anybody may call; each asks for a secret of its own or tells nothing."""

_api_bearer = HTTPBearer(
    scheme_name="Bearer", description="An access token, an API key, or the operator's token.", auto_error=False
)
_runtime_bearer = HTTPBearer(scheme_name="Runtime token", auto_error=False)


async def get_settings(request: Request) -> Settings:
    """Return the application's settings."""
    settings = request.app.state.settings
    assert isinstance(settings, Settings)
    return settings


SettingsDep = Annotated[Settings, Depends(get_settings)]


def identity_of(caller: Caller) -> str:
    """Return whose requests are counted together for the rate limits: a person's, by whatever login or key."""
    if caller.user_id is None:
        return f"operator:{caller.organization_id}"
    return f"user:{caller.organization_id}:{caller.user_id}"


@counted(identity_of)
async def authenticate_caller(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_api_bearer)]
) -> Caller:
    """Return the caller of an API endpoint.

    :raises Problem: 401.
    """
    authenticator = request.app.state.authenticator
    assert isinstance(authenticator, Authenticator)
    return await authenticator.authenticate(credentials.credentials if credentials else "")


CallerDep = Annotated[Caller, Depends(authenticate_caller)]


async def authenticate_runtime(
    settings: SettingsDep, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_runtime_bearer)]
) -> None:
    """Let only workers and the bundle in.

    :raises Problem: 401.
    """
    given = credentials.credentials if credentials else ""
    if not secrets.compare_digest(given.encode(), settings.runtime_token.get_secret_value().encode()):
        raise unauthorized()


async def require_user(caller: CallerDep) -> Caller:
    """Let only people in who logged in: not their API keys, and not the operator's token.

    :raises Problem: 403.
    """
    if caller.via != "token":
        detail = "This is for people who are logged in; got an API key or the operator's token. Log in and try again."
        raise Problem(403, "login_needed", detail)
    return caller


StillAllowed = Callable[[], Awaitable[bool]]
UserDep = Annotated[Caller, Depends(require_user)]


class Permission:
    """A dependency that lets only callers with a permission in.

    :raises ValueError: The table of permissions has no such one.
    """

    def __init__(self, name: str) -> None:
        if name not in PERMISSIONS:
            raise ValueError(f"A route must name a permission of api/identity/permissions.py; got {name!r}.")
        self.name = name

    async def __call__(self, request: Request, caller: CallerDep) -> None:
        """Check one request, and tell the audit log's trail whose it is.

        :raises Problem: 403; names the permission.
        """
        self.check(caller)
        extra = getattr(request.scope.get("route"), "openapi_extra", None) or {}
        admit(caller, extra.get(AUDITED))

    def check(self, caller: Caller) -> None:
        """Check a caller.

        :raises Problem: 403; names the permission.
        """
        if self.name not in caller.permissions:
            detail = f"This needs the permission {self.name!r}, which {_whose(caller)} does not have. Ask an owner."
            raise Problem(403, "forbidden", detail, permission=self.name)


def _whose(caller: Caller) -> str:
    return f"the role {caller.role!r}" if caller.via != "api_key" else "this API key"


def permit(permission: str) -> Any:
    """Declare the permission that an endpoint needs, as one of its ``dependencies``."""
    return Depends(Permission(permission))


def still(permission: str) -> Any:
    """Give an endpoint whose answer lasts a function that tells whether its caller may go on reading it."""

    async def look(
        request: Request,
        caller: CallerDep,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_api_bearer)],
    ) -> StillAllowed:
        async def is_allowed() -> bool:
            bearer = credentials.credentials if credentials else ""
            now = await request.app.state.authenticator.look_again(caller, bearer)
            return now is not None and permission in now.permissions

        return is_allowed

    return Depends(look)


def permission_of(route: APIRoute) -> str | None:
    """Return the permission that a route declares."""
    return next((call.name for call in _calls(route.dependant) if isinstance(call, Permission)), None)


def _calls(dependant: Dependant) -> Iterator[Any]:
    for each in dependant.dependencies:
        yield each.call
        yield from _calls(each)


def declare_permissions(routes: Iterable[Any]) -> None:
    """Show each route's permission in the OpenAPI document, as ``x-permission``, and what the audit log calls it, as
    ``x-audit``.

    :raises RuntimeError: A route of ``/api/v1`` has none and is not in ``PUBLIC``.
    """
    for route in routes:
        if not isinstance(route, APIRoute) or not route.path.startswith(PREFIX):
            continue
        permission = permission_of(route)
        actions = {action_of(method, route.path, permission, route.name) for method in route.methods} - {None}
        if actions:
            route.openapi_extra = {**(route.openapi_extra or {}), AUDITED: actions.pop()}
        if permission is not None:
            route.openapi_extra = {**(route.openapi_extra or {}), "x-permission": permission}
        elif any((method, route.path) not in PUBLIC for method in route.methods):
            raise RuntimeError(f"{route.methods} {route.path} must declare a permission with permit(...).")
