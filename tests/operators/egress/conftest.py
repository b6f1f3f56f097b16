"""Shared parts: a web server, and clients that may or may not reach it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpcore
import httpx
import pytest

from operators.egress.client import EgressClient
from operators.egress.policy import EgressPolicy
from tests.stubs.http_server import HttpServer

AUTHORITIES = httpx.create_ssl_context()
"""Made once: reading all the certificates takes a while."""


class Names:
    """A resolver with the answers of a test, one after the other; the last one stays."""

    def __init__(self, **answers: list[str] | list[list[str]]) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[str] = []
        for name, answer in answers.items():
            self[name.replace("_", ".")] = answer

    def __setitem__(self, name: str, answer: Any) -> None:
        self.answers[name] = answer if isinstance(answer[0], list) else [answer]

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        left = self.answers[host]
        found: list[str] = left.pop(0) if len(left) > 1 else left[0]
        return found


class RecordingNetwork(httpcore.AsyncMockBackend):
    """Notes where connections would go, and answers each with ``200 OK``."""

    def __init__(self) -> None:
        super().__init__([b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"])
        self.connected: list[tuple[str, int]] = []

    async def connect_tcp(self, host: str, port: int, *arguments: Any, **more: Any) -> httpcore.AsyncNetworkStream:
        self.connected.append((host, port))
        return await super().connect_tcp(host, port, *arguments, **more)


@pytest.fixture
def names() -> Names:
    return Names()


@pytest.fixture
def network() -> RecordingNetwork:
    return RecordingNetwork()


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with HttpServer() as server:
        yield server


ClientFactory = Callable[..., EgressClient]


@pytest.fixture
async def make_client() -> AsyncIterator[ClientFactory]:
    """Make clients that are closed with the test; ``allow`` is the deployment's setting."""
    made: list[EgressClient] = []

    def make(*, allow: str = "", **parts: Any) -> EgressClient:
        parts.setdefault("verify", AUTHORITIES)
        made.append(EgressClient(parts.pop("policy", EgressPolicy.parse(allow)), **parts))
        return made[-1]

    yield make
    for client in made:
        await client.close()


@pytest.fixture
def client(make_client: ClientFactory) -> EgressClient:
    """A client that may reach this machine."""
    return make_client(allow="127.0.0.1")
