"""Every route of the OpenAPI document, those to come too: its bodies are checked, its problems documented."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, get_args

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel

from api.app import create_app
from api.gateway.server import server_options
from api.platform.postgres import Cluster
from api.settings import Settings
from tests.api.conftest import new_database
from tests.api.control_plane import WORKFLOW_ID, workflow

pytestmark = pytest.mark.platform


@pytest.fixture(scope="module")
def own_database_url(postgres: Cluster, template: str) -> Iterator[str]:
    """A database of this module's own: its server starts before the first test would empty the shared one."""
    with new_database(postgres, template) as url:
        yield url


@pytest.fixture(scope="module")
def application(own_database_url: str) -> FastAPI:
    """An application of its own: its server runs in another thread."""
    return create_app(
        Settings.model_validate(
            {
                "database_url": own_database_url,
                "api_token": "api-token",
                "runtime_token": "runtime-token",
                "airflow_url": "http://127.0.0.1:9",
                "relay": False,
                "rate_limits": "off",
                "max_wait_seconds": 0.1,
            }
        )
    )


@pytest.fixture(scope="module")
def base_url(application: FastAPI) -> Iterator[str]:
    """The application behind the real server, with a workflow in it."""
    settings = application.state.settings
    server = uvicorn.Server(uvicorn.Config(application, host="127.0.0.1", port=0, **server_options(settings)))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        thread.join(0.01)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    with httpx.Client(base_url=url, headers={"authorization": "Bearer api-token"}) as client:
        client.post(f"/api/v1/workflows/{WORKFLOW_ID}/publish", json=workflow()).raise_for_status()
    yield url
    server.should_exit = True
    thread.join()


OWN = frozenset(
    {"/api/v1/events", "/api/v1/import", "/api/v1/workflows/validate", "/api/v1/workflows/{workflow_id}/publish"}
)
"""Bodies of a standard of their own: CloudEvents takes extensions, workflows have the compiler, an import is a zip."""


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Every model in an annotation, and in the fields of those."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            if field.annotation is not annotation:
                yield from _models(field.annotation)
    for argument in get_args(annotation):
        yield from _models(argument)


def _bodies(application: FastAPI) -> list[tuple[str, Any]]:
    """The declared bodies, by route."""
    return [
        (f"{sorted(route.methods)[0]} {route.path}", parameter.field_info.annotation)
        for route in application.routes
        if isinstance(route, APIRoute)
        for parameter in route.dependant.body_params
    ]


def test_no_body_takes_fields_it_does_not_know(application: FastAPI) -> None:
    bodies = _bodies(application)
    assert len(bodies) > 10
    open_ones = {
        f"{route}: {model.__name__}"
        for route, annotation in bodies
        for model in _models(annotation)
        if model.model_config.get("extra") != "forbid"
    }
    assert open_ones == set()


def test_every_body_is_declared(application: FastAPI) -> None:
    """A body that an endpoint reads by itself escapes the test above; so each is named here."""
    undeclared = {
        path
        for path, item in application.openapi()["paths"].items()
        for operation in item.values()
        for content in operation.get("requestBody", {}).get("content", {}).values()
        if path.startswith("/api/v1/") and "$ref" not in str(content["schema"])
    }
    assert undeclared <= OWN


FORBIDDEN = ("organization_id", "organization", "role", "owner", "created_at", "budget")


@pytest.mark.parametrize("name", FORBIDDEN)
def test_mass_assignment(base_url: str, name: str) -> None:
    headers = {"authorization": "Bearer api-token"}
    sent = {
        "/api/v1/workflows/execute": {"workflow_id": WORKFLOW_ID, "input": {"name": "Ann"}},
        f"/api/v1/workflows/{WORKFLOW_ID}/inputs": {"input": {"name": "Ann"}},
        f"/api/v1/workflows/{WORKFLOW_ID}/publish": workflow(),
        "/api/v1/dead-letters/redeliver": {},
        "/api/v1/approvals/01990000-0000-7000-8000-000000000001/decision": {"decision": "approve"},
    }
    for path, body in sent.items():
        response = httpx.post(base_url + path, json=body | {name: "x"}, headers=headers)
        assert (response.status_code, name in response.text) == (422, True), f"{path}: {response.text}"


def test_every_error_is_a_documented_problem(application: FastAPI) -> None:
    document = application.openapi()
    for path, item in document["paths"].items():
        for method, operation in item.items():
            for status in ("400", "422", "500", "503"):
                content = operation["responses"][status]["content"]
                assert "application/problem+json" in content, f"{method} {path}: {status}"
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_a_text_that_no_database_holds(base_url: str) -> None:
    headers = {"authorization": "Bearer api-token"}
    response = httpx.get(f"{base_url}/api/v1/workflows/a%00b/runs/x", headers=headers)
    assert (response.status_code, response.json()["code"]) == (400, "invalid_text")
