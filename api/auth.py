"""Who calls: bearer tokens. An endpoint without one of these dependencies is public by definition."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import SecretStr

from api.gateway.admission import counted
from api.problems import Problem
from api.settings import Settings

_api_bearer = HTTPBearer(scheme_name="API token", auto_error=False)
_runtime_bearer = HTTPBearer(scheme_name="Runtime token", auto_error=False)


@dataclass(frozen=True)
class Caller:
    """An authenticated caller of ``/api/v1`` and the organisation it acts for."""

    organization_id: UUID
    organization: str


def get_settings(request: Request) -> Settings:
    """Return the application's settings."""
    settings = request.app.state.settings
    assert isinstance(settings, Settings)
    return settings


SettingsDep = Annotated[Settings, Depends(get_settings)]


def _check(credentials: HTTPAuthorizationCredentials | None, expected: SecretStr) -> None:
    given = credentials.credentials if credentials else ""
    if not secrets.compare_digest(given.encode(), expected.get_secret_value().encode()):
        detail = "Send the header 'Authorization: Bearer <token>' with a valid token."
        raise Problem(401, "unauthorized", detail, headers={"www-authenticate": "Bearer"})


def identity_of(caller: Caller) -> str:
    """Return whose requests are counted together for the rate limits."""
    return f"operator:{caller.organization_id}"


@counted(identity_of)
def authenticate_caller(
    request: Request,
    settings: SettingsDep,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_api_bearer)],
) -> Caller:
    """Return the caller of an API endpoint.

    :raises Problem: 401.
    """
    _check(credentials, settings.api_token)
    organization_id = request.app.state.organization_id
    assert isinstance(organization_id, UUID)
    return Caller(organization_id, settings.organization)


def authenticate_runtime(
    settings: SettingsDep, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_runtime_bearer)]
) -> None:
    """Let only workers and the bundle in.

    :raises Problem: 401.
    """
    _check(credentials, settings.runtime_token)


CallerDep = Annotated[Caller, Depends(authenticate_caller)]
