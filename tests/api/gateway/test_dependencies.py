"""Nothing that endpoints depend on is run in a thread."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from api.app import create_app
from api.settings import Settings

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def app() -> FastAPI:
    return create_app(Settings(database_url="postgresql://none", api_token="none", runtime_token="none"))  # type: ignore[arg-type]


def calls_of(dependant: Dependant) -> Iterator[Any]:
    for each in dependant.dependencies:
        yield each.call
        yield from calls_of(each)


def is_asynchronous(call: Any) -> bool:
    work = call if inspect.isroutine(call) else call.__call__
    return inspect.iscoroutinefunction(work) or inspect.isasyncgenfunction(work)


def test_every_dependency_is_a_coroutine(app: FastAPI) -> None:
    """FastAPI hands a plain function to a thread: a hop there and back for each request, to look up an attribute."""
    found = {call for route in app.routes if isinstance(route, APIRoute) for call in calls_of(route.dependant)}
    assert len(found) > 30
    plain = [f"{call.__module__}.{getattr(call, '__qualname__', call)}" for call in found if not is_asynchronous(call)]
    assert not plain, f"make these `async def`: {sorted(plain)}"
