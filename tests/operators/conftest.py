"""Shared parts of the runtime's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.stubs.model_server import ModelServer


@pytest.fixture
def model_server() -> Iterator[ModelServer]:
    """A stub of the model providers."""
    with ModelServer() as server:
        yield server


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reaches a real provider."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
