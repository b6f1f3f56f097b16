"""A control plane that trusts a real provider, and people who log in by it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from api.oidc.settings import DomainRule, OidcProvider
from api.settings import Settings
from tests.api.control_plane import ControlPlane
from tests.api.identity.people import People
from tests.api.oidc.providers import CLIENT_ID, CLIENT_SECRET, log_in_there, provider

PUBLIC_URL = "http://factory.test"
OIDC = "/api/v1/auth/oidc"


@pytest.fixture(scope="session")
def issuer() -> Iterator[str]:
    """The provider ``corp``."""
    with provider([f"{PUBLIC_URL}/login/corp", "http://127.0.0.1:8765/login/corp"]) as url:
        yield url


@pytest.fixture(scope="session")
def other_issuer() -> Iterator[str]:
    """Another one, ``evil``, which knows the same people."""
    with provider([f"{PUBLIC_URL}/login/evil", "http://127.0.0.1:8765/login/evil"]) as url:
        yield url


@pytest.fixture
def corp(issuer: str) -> OidcProvider:
    """How the control plane knows the provider; tests change it."""
    return OidcProvider(
        name="corp", issuer=issuer, client_id=CLIENT_ID, client_secret=SecretStr(CLIENT_SECRET),
        domains={"acme.test": DomainRule(organization="default", role="developer")},
    )  # fmt: skip


@pytest.fixture
def others() -> tuple[OidcProvider, ...]:
    """Further providers."""
    return ()


@pytest.fixture
def settings(settings: Settings, corp: OidcProvider, others: tuple[OidcProvider, ...]) -> Settings:
    """The settings of the other tests, with a secret key and the providers."""
    return settings.model_copy(update={"secret_key": SecretStr("k" * 32), "oidc_providers": (corp, *others)})


@pytest.fixture
def people(control_plane: ControlPlane) -> People:
    """People of the control plane."""
    return People(control_plane)


class Logins:
    """Logs people in by a provider, step by step."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane

    async def begin(self, name: str = "corp", **body: Any) -> dict[str, Any]:
        answer = await self.plane.public.post(f"{OIDC}/{name}/begin", json=body)
        assert answer.status_code == 200, answer.text
        begun: dict[str, Any] = answer.json()
        return begun

    async def finish(
        self, begun: dict[str, Any], back: dict[str, str], name: str = "corp", **changes: Any
    ) -> httpx.Response:
        body = {"login_token": begun["login_token"], "code": back["code"], "state": back["state"], "iss": back["iss"]}
        body = {key: value for key, value in (body | changes).items() if value is not None}
        return await self.plane.public.post(f"{OIDC}/{name}/finish", json=body)

    async def log_in(self, account: str, **changes: Any) -> httpx.Response:
        begun = await self.begin()
        return await self.finish(begun, await log_in_there(begun["authorization_url"], account), **changes)


@pytest.fixture
def logins(control_plane: ControlPlane) -> Logins:
    """Logs people in."""
    return Logins(control_plane)
