"""Shared parts of the tests: one embedded platform and one PostgreSQL a session, and nothing left behind."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from api.platform import client
from api.platform.postgres import Cluster, locate
from tests.stubs.http_server import HttpServer
from tests.stubs.model_server import ModelServer
from tests.support import MODEL_KEY, Platform, airflow_client, running_postgres, temporary_home

TIERS = {"unit", "platform", "kubernetes", "browser"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test belongs to one tier, or no tier would run it."""
    for item in items:
        if not TIERS & {mark.name for mark in item.iter_markers()}:
            raise pytest.UsageError(f"{item.nodeid} must have one of the markers {sorted(TIERS)}; got none")


@pytest.fixture(scope="session")
def session_models() -> Iterator[ModelServer]:
    """The stub of the model services that the session's platform calls."""
    with ModelServer() as server:
        yield server


@pytest.fixture
def models(session_models: ModelServer) -> Iterator[ModelServer]:
    """The stub server, in good order before and after each test."""
    yield session_models
    session_models.release()


@pytest.fixture(scope="session")
def session_web() -> Iterator[HttpServer]:
    """A web server that the steps of the session's platform may call."""
    with HttpServer() as server:
        yield server


@pytest.fixture(scope="session")
def platform(session_models: ModelServer) -> Iterator[Platform]:
    """The embedded platform of the session; its model calls go to the stub server, its steps may call this machine."""
    with temporary_home() as home, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", MODEL_KEY)
        patch.setenv("OPENAI_BASE_URL", session_models.openai_url)
        patch.setenv("AGENT_FACTORY_EGRESS_ALLOW", "127.0.0.1")
        running = client.start(home, detach=False, restart=True)
        try:
            running.wait_ready(lambda text: print(f"platform: {text}", flush=True))
            state = home.read_state()
            credentials = home.credentials()
            with (
                httpx.Client(
                    base_url=home.api_url, headers={"Authorization": f"Bearer {state['api_token']}"}, timeout=60
                ) as http,
                airflow_client(home) as airflow,
            ):
                yield Platform(home, state, http, airflow, locate(home.path, credentials.postgres_password))
        finally:
            running.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """A PostgreSQL of the session for tests that need no Airflow."""
    with running_postgres() as cluster:
        yield cluster
