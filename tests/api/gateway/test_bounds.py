"""Bounds of requests: heads, addresses, slow bodies, endpoints that hang."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import Request
from sqlalchemy import text

from api.gateway import deadline
from api.gateway.admission import address_of
from api.gateway.server import server_options
from api.settings import Settings
from tests.api.control_plane import ControlPlane

pytestmark = pytest.mark.platform


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"body_seconds": 0.2, "header_seconds": 0.3})


@pytest.fixture
async def address(control_plane: ControlPlane, settings: Settings) -> AsyncIterator[tuple[str, int]]:
    """The application behind the server that we start."""
    config = uvicorn.Config(control_plane.app, host="127.0.0.1", port=0, lifespan="off", **server_options(settings))
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        assert not task.done(), "the server did not start"
        await asyncio.sleep(0.005)
    yield server.servers[0].sockets[0].getsockname()
    server.should_exit = True
    await task


async def talk(address: tuple[str, int], *parts: bytes) -> bytes:
    """Send parts; return all that is answered until the server closes."""
    reader, writer = await asyncio.open_connection(*address)
    for part in parts:
        writer.write(part)
        await writer.drain()
    answer = await reader.read()
    writer.close()
    return answer


class TestHead:
    @pytest.mark.parametrize("url", ["/health?" + "q" * 9000, "/" + "p" * 9000])
    async def test_long_url(self, control_plane: ControlPlane, url: str) -> None:
        response = await control_plane.public.get(url)
        assert (response.status_code, response.json()["code"]) == (414, "url_too_long")
        assert response.headers["x-request-id"]

    async def test_large_headers(self, control_plane: ControlPlane) -> None:
        response = await control_plane.public.get("/health", headers={"x-large": "x" * 40_000})
        assert (response.status_code, response.json()["code"]) == (431, "headers_too_large")

    async def test_endless_headers_are_cut_off(self, address: tuple[str, int]) -> None:
        answer = await talk(address, b"GET /health HTTP/1.1\r\nhost: a\r\n", b"x: " + b"y" * 70_000)
        assert answer.startswith(b"HTTP/1.1 431 ")

    @pytest.mark.parametrize("head", [b"", b"GET /health HTTP/1.1\r\nhost: a\r\nx-slow: "])
    async def test_a_head_that_does_not_come(self, address: tuple[str, int], head: bytes) -> None:
        assert (await talk(address, head)).startswith(b"HTTP/1.1 408 ")

    async def test_connections_are_kept(self, address: tuple[str, int]) -> None:
        async with httpx.AsyncClient(base_url=f"http://{address[0]}:{address[1]}") as client:
            assert [(await client.get("/health")).status_code for _ in range(3)] == [200] * 3
        one = b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n"
        last = b"GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
        assert (await talk(address, one + one + last)).count(b"HTTP/1.1 200 ") == 3


class TestBody:
    @pytest.mark.parametrize("path", ["/api/v1/workflows/execute", "/webhook/default/greet", "/runtime/v1/artifacts"])
    async def test_one_that_trickles(self, control_plane: ControlPlane, address: tuple[str, int], path: str) -> None:
        await control_plane.publish()
        token = b"runtime-token" if path.startswith("/runtime") else b"api-token"
        head = f"POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100\r\n".encode()
        answer = await talk(address, head + b"authorization: Bearer " + token + b"\r\n\r\n", b"{")
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in answer.lower()


class TestEndpoint:
    @pytest.fixture
    def brief(self, control_plane: ControlPlane) -> None:
        """Endpoints have little time from now on."""
        state = control_plane.app.state
        state.settings = state.settings.model_copy(update={"request_seconds": 0.3})

    @pytest.mark.usefixtures("brief")
    async def test_one_that_hangs_is_rolled_back(self, control_plane: ControlPlane) -> None:
        async def hang() -> None:
            async with control_plane.database.system() as session:
                await session.execute(text("INSERT INTO organizations (slug, name) VALUES ('left-over', 'L')"))
                await asyncio.Event().wait()

        control_plane.app.add_api_route("/hang", hang)
        response = await control_plane.public.get("/hang")
        assert (response.status_code, response.json()["code"]) == (503, "timed_out")
        async with control_plane.database.system() as session:
            assert await session.scalar(text("SELECT count(*) FROM organizations WHERE slug = 'left-over'")) == 0

    @pytest.mark.usefixtures("brief")
    async def test_waiting_does_not_count(self, control_plane: ControlPlane) -> None:
        async def patient() -> dict[str, Any]:
            deadline.extend(60)
            await asyncio.sleep(0.4)
            return {}

        control_plane.app.add_api_route("/patient", patient)
        assert (await control_plane.public.get("/patient")).status_code == 200


class TestProxies:
    async def client_seen(self, control_plane: ControlPlane, settings: Settings, forwarded: str) -> str:
        async def who(request: Request) -> str:
            return address_of(request)

        control_plane.app.add_api_route("/who", who)
        options = server_options(settings)
        config = uvicorn.Config(control_plane.app, lifespan="off", **options)
        config.load()
        transport = httpx.ASGITransport(config.loaded_app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://factory.test") as client:
            response = await client.get("/who", headers={"x-forwarded-for": forwarded})
        return str(response.json())

    async def test_a_stranger_is_not_believed(self, control_plane: ControlPlane, settings: Settings) -> None:
        assert await self.client_seen(control_plane, settings, "198.51.100.7") == "address:127.0.0.1"

    async def test_a_trusted_proxy_is(self, control_plane: ControlPlane, settings: Settings) -> None:
        trusting = settings.model_copy(update={"trusted_proxies": ("127.0.0.0/8",)})
        # What the caller wrote before what the proxy added is no more than a claim.
        seen = await self.client_seen(control_plane, trusting, "192.0.2.1, 198.51.100.7")
        assert seen == "address:198.51.100.7"

    async def test_a_network_of_ipv6_is_one_address(self, control_plane: ControlPlane, settings: Settings) -> None:
        trusting = settings.model_copy(update={"trusted_proxies": ("127.0.0.1",)})
        seen = await self.client_seen(control_plane, trusting, "2001:db8:0:1:2:3:4:5")
        assert seen == "address:2001:db8:0:1::/64"
