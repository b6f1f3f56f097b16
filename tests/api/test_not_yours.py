"""What is another organisation's is answered, to the byte, as what is not there: on every route with an id."""

from __future__ import annotations

import re
from typing import Any

import pytest
from fastapi.routing import APIRoute
from sqlalchemy import text

from tests.api.control_plane import ControlPlane
from tests.api.furnishing import AGENT, APPROVAL, EXECUTION, PERSON, TEAM, furnish

pytestmark = pytest.mark.platform

THEIRS = {
    "execution_id": str(EXECUTION),
    "other_id": str(EXECUTION),
    "approval_id": str(APPROVAL),
    "workflow_id": "same",
    "run_id": "run",
    "agent_id": str(AGENT),
    "number": "1",
    "name": "v",
    "slug": "theirs",
    "user_id": str(PERSON),
    "team_id": str(TEAM),
    "invitation_id": str(TEAM),
    "key_id": str(TEAM),
    "session_id": str(TEAM),
    "provider": "none",
    "review_id": str(TEAM),
    "template_id": str(TEAM),
    "subscription_id": str(TEAM),
    "delivery_id": str(TEAM),
    "step_id": "step",
}
NOBODYS = {
    "execution_id": "01990000-0000-7000-8000-0000000000ff",
    "other_id": "01990000-0000-7000-8000-0000000000ff",
    "approval_id": "01990000-0000-7000-8000-0000000000fe",
    "workflow_id": "none",
    "run_id": "run",
    "agent_id": "01990000-0000-7000-8000-0000000000f8",
    "number": "1",
    "name": "none",
    "slug": "nobodys",
    "user_id": "01990000-0000-7000-8000-0000000000fd",
    "team_id": "01990000-0000-7000-8000-0000000000fc",
    "invitation_id": "01990000-0000-7000-8000-0000000000fb",
    "key_id": "01990000-0000-7000-8000-0000000000fa",
    "session_id": "01990000-0000-7000-8000-0000000000f9",
    "letter_id": "999999",
    "provider": "none",
    "review_id": "01990000-0000-7000-8000-0000000000f7",
    "template_id": "01990000-0000-7000-8000-0000000000f4",
    "subscription_id": "01990000-0000-7000-8000-0000000000f6",
    "delivery_id": "01990000-0000-7000-8000-0000000000f5",
    "step_id": "none",
}
BODIES: dict[str, Any] = {
    "POST /api/v1/approvals/{approval_id}/decision": {"decision": "approve", "by": "me"},
    "POST /api/v1/workflows/{workflow_id}/inputs": {"input": {}},
    "POST /api/v1/workflows/execute": {"workflow_id": "{workflow_id}", "input": {}},
    "POST /api/v1/dead-letters/redeliver": {"workflow_id": "{workflow_id}"},
    "PUT /api/v1/variables/{name}": {"value": 1},
    "POST /api/v1/auth/oidc/{provider}/begin": {},
    "POST /api/v1/auth/oidc/{provider}/finish": {"login_token": "x", "code": "x", "state": "x"},
    "PATCH /api/v1/organizations/{slug}": {"name": "X"},
    "POST /api/v1/organizations/{slug}/deletion": {"confirm": "x"},
    "PUT /api/v1/members/{user_id}": {"role": "viewer"},
    "POST /api/v1/agents/{agent_id}/reviews": {},
    "POST /api/v1/reviews/{review_id}/decision": {"decision": "reject", "fingerprint": "0" * 64},
    "PATCH /api/v1/agents/{agent_id}": {"name": "X"},
    "PUT /api/v1/agents/{agent_id}/workflow": {"workflow": {}},
    "POST /api/v1/agents/{agent_id}/test": {},
    "POST /api/v1/templates": {"name": "X", "agent_id": "{agent_id}"},
    "PATCH /api/v1/templates/{template_id}": {"name": "X"},
    "POST /api/v1/templates/{template_id}/instantiate": {"name": "X"},
}
QUERIES = {"/api/v1/agents/{agent_id}/diff": {"from": "1"}}
MAKES_ITS_OWN = {"POST /api/v1/workflows/{workflow_id}/publish", "PUT /api/v1/variables/{name}"}
"""An id that another organisation has is free."""
FOR_PEOPLE = {
    "DELETE /api/v1/auth/sessions/{session_id}": 403,
    "POST /api/v1/reviews/{review_id}/decision": 403,
}
"""What is no 404: who has not logged in has no sessions. ``identity/test_access_matrix.py`` logs in."""


def routes(control_plane: ControlPlane) -> list[str]:
    """Return the routes of ``/api/v1`` that take an id."""
    named = [
        f"{method} {route.path}"
        for route in control_plane.app.routes
        if isinstance(route, APIRoute) and route.path.startswith("/api/v1")
        for method in route.methods
    ]
    return [name for name in named if "{" in name or name in BODIES]


def fill(value: Any, ids: dict[str, str]) -> Any:
    """Put ids in the places of their names."""
    if isinstance(value, dict):
        return {key: fill(each, ids) for key, each in value.items()}
    return re.sub(r"\{(\w+)\}", lambda found: ids[found[1]], value) if isinstance(value, str) else value


async def answer(control_plane: ControlPlane, route: str, ids: dict[str, str]) -> tuple[Any, ...]:
    """Return what a caller hears, without the ids."""
    method, path = route.split(" ")
    response = await control_plane.api.request(
        method,
        fill(path, ids),
        params=QUERIES.get(path),
        json=fill(BODIES.get(route), ids),
        headers={"if-match": "*"},
    )
    body = response.text
    for value in ids.values():
        body = body.replace(f"'{value}'", "<id>")
    headers = {
        name: value for name, value in response.headers.items() if name not in ("x-request-id", "content-length")
    }
    return response.status_code, headers, body


@pytest.fixture
async def theirs(control_plane: ControlPlane) -> dict[str, str]:
    """Ids of an organisation that is not the caller's, with a row of each kind; a dead letter too."""
    async with control_plane.database.system() as session:
        await furnish(session, "theirs")
        letter = text("UPDATE outbox SET dead = true, buried_at = now() RETURNING CAST(id AS text)")
        return {**THEIRS, "letter_id": (await session.execute(letter)).scalar_one()}


async def test_every_route_with_an_id(control_plane: ControlPlane, theirs: dict[str, str]) -> None:
    found = routes(control_plane)
    assert set(found) >= {"GET /api/v1/executions/{execution_id}", *BODIES, *MAKES_ITS_OWN}
    for route in sorted(set(found) - MAKES_ITS_OWN):
        others = await answer(control_plane, route, theirs)
        assert others[0] == FOR_PEOPLE.get(route, 404), (route, others)
        assert others == await answer(control_plane, route, NOBODYS), route


@pytest.mark.parametrize(
    "query",
    [
        "approvals",
        "approvals?execution_id={execution_id}",
        "dead-letters",
        "dead-letters?workflow_id={workflow_id}",
        "templates",
        "templates?source=own&q={slug}",
        "templates?before={template_id}",
    ],
)
async def test_lists(control_plane: ControlPlane, theirs: dict[str, str], query: str) -> None:
    others = await answer(control_plane, f"GET /api/v1/{query}", theirs)
    assert others == await answer(control_plane, f"GET /api/v1/{query}", NOBODYS)
    assert others[0] == 200


async def test_their_ids_are_free_and_their_rows_stay(control_plane: ControlPlane, theirs: dict[str, str]) -> None:
    for route in sorted(set(routes(control_plane)) - MAKES_ITS_OWN):
        await answer(control_plane, route, theirs)
    async with control_plane.database.system() as session:
        row = (await session.execute(text("SELECT status, cancel_requested_at FROM workflow_executions"))).one()
        assert tuple(row) == ("pending", None)
        assert await session.scalar(text("SELECT decision FROM approvals")) is None
        assert await session.scalar(text("SELECT dead FROM outbox")) is True
        assert await session.scalar(text("SELECT count(*) FROM prepared_inputs")) == 1
