"""The control plane on a real PostgreSQL: one server a session, one database a test from a migrated template."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import httpx
import psycopg2
import pytest
import uvicorn
from fastapi import FastAPI
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from starlette.datastructures import State

from api.app import create_app
from api.migrate import migrate
from api.models import Base
from api.platform.postgres import Cluster
from api.settings import Settings
from api.workflows.plans import PlanCache
from tests.api.control_plane import ControlPlane
from tests.support import OWNER, OWNER_PASSWORD, production_roles

TEMPLATE = "template_agent_factory"
_numbers = itertools.count()


@pytest.fixture(scope="session")
def template(postgres: Cluster) -> str:
    """Name of a migrated database to copy, with the roles of a production: an owner that is no superuser."""
    with connected(postgres.url("postgres")) as cursor:
        for statement in production_roles(postgres, TEMPLATE):
            cursor.execute(statement)
    migrate(owner_url_of(postgres, TEMPLATE))
    return TEMPLATE


def owner_url_of(cluster: Cluster, database: str) -> URL:
    """The URL of the owner of a database's tables."""
    return make_url(cluster.url_of(OWNER, OWNER_PASSWORD, database, "postgresql+psycopg2"))


@contextmanager
def connected(url: str) -> Iterator[Any]:
    """A cursor that commits each statement."""
    connection = psycopg2.connect(url)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


@contextmanager
def new_database(cluster: Cluster, template: str) -> Iterator[str]:
    """A copy of the template, by the application's URL; nothing of it need survive a crash."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    with connected(cluster.url("postgres")) as cursor:
        cursor.execute(f"CREATE DATABASE {name} TEMPLATE {template} OWNER {OWNER}")
        cursor.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
        yield cluster.app_url(name)
        cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def fresh_database_url(postgres: Cluster, template: str) -> Iterator[str]:
    """A migrated database of the test's own, for tests that change its schema."""
    with new_database(postgres, template) as url:
        yield url


@pytest.fixture(scope="session")
def shared_database_url(postgres: Cluster, template: str) -> Iterator[str]:
    """A migrated database of all tests."""
    with new_database(postgres, template) as url:
        yield url


@pytest.fixture
def database_url(postgres: Cluster, shared_database_url: str) -> str:
    """A migrated database without rows, as the application connects to it."""
    name = make_url(shared_database_url).database
    assert name is not None
    with connected(postgres.url(name)) as cursor:
        for table in reversed(Base.metadata.sorted_tables):
            cursor.execute(f"DELETE FROM {table.name}")
    return shared_database_url


@pytest.fixture
def owner_url(postgres: Cluster, database_url: str) -> URL:
    """The same database for the owner of its tables, who migrates."""
    name = make_url(database_url).database
    assert name is not None
    return owner_url_of(postgres, name)


@pytest.fixture
def admin(postgres: Cluster, fresh_database_url: str) -> Iterator[Any]:
    """A superuser's cursor in the test's own database, which has to be the control plane's."""
    name = make_url(fresh_database_url).database
    assert name is not None
    with connected(postgres.url(name)) as cursor:
        yield cursor


@pytest.fixture
def settings(database_url: str) -> Settings:
    """Settings of a control plane without a relay."""
    return Settings(
        database_url=database_url,
        api_url="http://factory.test",
        api_token="api-token",
        runtime_token="runtime-token",
        airflow_url="http://127.0.0.1:9",
        relay=False,
        rate_limits="off",
        database_pool_size=5,
        openai_api_key=None,
        openai_base_url=None,
        anthropic_api_key=None,
        anthropic_base_url=None,
    )


@pytest.fixture(scope="session")
def application() -> FastAPI:
    """The application of all tests: making one takes longer than most of them."""
    return create_app(Settings(database_url="postgresql://none", api_token="none", runtime_token="none"))  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def engine() -> Callable[..., AsyncEngine]:
    """Makes an engine, or returns that of the test before: it has forgotten its connections, not the statements that
    it has compiled."""
    made: dict[tuple[Any, ...], AsyncEngine] = {}

    def make(url: Any, **options: Any) -> AsyncEngine:
        key = (url, options["pool_size"])
        if key not in made:
            made.clear()
            made[key] = create_async_engine(url, **options)
        return made[key]

    return make


@pytest.fixture
async def control_plane(
    application: FastAPI, settings: Settings, engine: Callable[..., AsyncEngine]
) -> AsyncIterator[ControlPlane]:
    """The application, served in this process, with nothing left of the test before."""
    app = application
    app.state = State({"settings": settings, "plans": PlanCache()})
    routes = list(app.router.routes)
    async with AsyncExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("api.database.create_async_engine", engine)
            await stack.enter_async_context(app.router.lifespan_context(app))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with ControlPlane(app, transport) as plane:
            await app.state.listener.connected.wait()
            yield plane
    if app.router.routes != routes:
        app.router.routes[:] = routes
        app.openapi_schema = None


@pytest.fixture
async def served_url(control_plane: ControlPlane) -> AsyncIterator[str]:
    """The same application behind a real HTTP server; its base URL."""
    # No socket of ours: those that the server opens answer at once, for asyncio turns Nagle's algorithm off for them.
    config = uvicorn.Config(
        control_plane.app, host="127.0.0.1", port=0, lifespan="off", log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    async with AsyncExitStack() as stack:
        task = asyncio.create_task(server.serve())
        stack.callback(setattr, server, "should_exit", True)
        while not server.started:
            assert not task.done(), "the server did not start"
            await asyncio.sleep(0.005)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    await task
