"""Header fields of answers, and CORS."""

from __future__ import annotations

import httpx
import pytest
from pydantic import ValidationError

from api.settings import Settings
from tests.api.control_plane import ControlPlane

pytestmark = pytest.mark.platform

ORIGIN = "https://app.example.com"


class TestSecurity:
    @pytest.mark.parametrize("path", ["/health", "/nowhere", "/api/v1/approvals", "/openapi.json", "/broken"])
    async def test_every_answer(self, control_plane: ControlPlane, path: str) -> None:
        async def broken() -> None:
            raise RuntimeError

        control_plane.app.add_api_route("/broken", broken)
        headers = (await control_plane.public.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["x-request-id"]
        assert "server" not in headers

    @pytest.mark.parametrize("path", ["/api/v1/approvals", "/runtime/v1/release", "/ready"])
    async def test_nothing_is_stored_on_the_way(self, control_plane: ControlPlane, path: str) -> None:
        for client in (control_plane.public, control_plane.api, control_plane.runtime):
            assert (await client.get(path)).headers["cache-control"] == "no-store"

    async def test_https_only_where_it_is_public(self, control_plane: ControlPlane) -> None:
        assert "strict-transport-security" not in (await control_plane.public.get("/health")).headers
        control_plane.app.state.settings = control_plane.app.state.settings.model_copy(
            update={"api_url": "https://factory.test"}
        )
        headers = (await control_plane.public.get("/health")).headers
        assert headers["strict-transport-security"] == "max-age=31536000"

    @pytest.mark.parametrize("path", ["/docs", "/redoc"])
    async def test_no_page_with_scripts_of_others(self, control_plane: ControlPlane, path: str) -> None:
        assert (await control_plane.public.get(path)).status_code == 404


async def preflight(control_plane: ControlPlane, path: str, origin: str) -> httpx.Response:
    headers = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization",
    }
    return await control_plane.public.options(path, headers=headers)


class TestCors:
    async def test_off(self, control_plane: ControlPlane) -> None:
        response = await control_plane.api.get("/api/v1/approvals", headers={"origin": ORIGIN})
        assert "access-control-allow-origin" not in response.headers
        assert (await preflight(control_plane, "/api/v1/approvals", ORIGIN)).status_code == 405

    @pytest.fixture
    def allowing(self, control_plane: ControlPlane) -> ControlPlane:
        state = control_plane.app.state
        state.settings = Settings.model_validate(state.settings.model_dump() | {"cors_origins": ORIGIN})
        return control_plane

    async def test_listed_origin(self, allowing: ControlPlane) -> None:
        assert (await preflight(allowing, "/api/v1/approvals", ORIGIN)).status_code == 200
        response = await allowing.api.get("/api/v1/approvals", headers={"origin": ORIGIN})
        assert response.headers["access-control-allow-origin"] == ORIGIN
        assert "access-control-allow-credentials" not in response.headers
        assert "ratelimit" in response.headers["access-control-expose-headers"]
        assert "origin" in response.headers["vary"].lower()

    @pytest.mark.parametrize("origin", ["https://evil.example.com", "https://app.example.com.evil.org", "null"])
    async def test_other_origin(self, allowing: ControlPlane, origin: str) -> None:
        response = await allowing.api.get("/api/v1/approvals", headers={"origin": origin})
        assert "access-control-allow-origin" not in response.headers
        assert (await preflight(allowing, "/api/v1/approvals", origin)).status_code == 400

    async def test_never_for_workers(self, allowing: ControlPlane) -> None:
        response = await allowing.runtime.get("/runtime/v1/release", headers={"origin": ORIGIN})
        assert "access-control-allow-origin" not in response.headers

    @pytest.mark.parametrize("value", ["*", "null", "app.example.com", "https://*.example.com", "https://a.b/path"])
    def test_what_no_origin_is(self, settings: Settings, value: str) -> None:
        with pytest.raises(ValidationError, match="origins"):
            Settings.model_validate(settings.model_dump() | {"cors_origins": value})
