"""Every route for every role, from the OpenAPI document and the table of permissions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import APIRouter, FastAPI

from api.auth import PUBLIC, declare_permissions
from api.identity.permissions import PERMISSIONS, ROLES, Role, permissions_of
from api.runtime.repository import JournalRepository
from operators.execution.records import StepRecord
from tests.api.control_plane import ControlPlane, workflow
from tests.api.identity.people import PASSWORD, People

pytestmark = pytest.mark.platform

METHODS = ("get", "post", "put", "patch", "delete")
NOBODY = "01990000-0000-7000-8000-0000000000ff"
OURS = "ours"
"""Not the operator's own organisation, which cannot be deleted."""
OTHER_DOORS = ("/health", "/ready", "/metrics", "/webhook/", "/runtime/v1/", "/.well-known/jwks.json")

BODIES: dict[str, Any] = {
    "POST /api/v1/workflows/execute": {"workflow_id": "{slug}", "input": {}},
    "POST /api/v1/workflows/{workflow_id}/inputs": {"input": {}},
    "POST /api/v1/approvals/{approval_id}/decision": {"decision": "approve"},
    "POST /api/v1/auth/switch": {"organization": "{slug}"},
    "PUT /api/v1/auth/password": {"current_password": PASSWORD, "new_password": "x" * 12},
    "PATCH /api/v1/organizations/{slug}": {"name": "Mine"},
    "POST /api/v1/organizations/{slug}/deletion": {"confirm": "{slug}"},
    "PUT /api/v1/members/{user_id}": {"role": "viewer"},
    "PUT /api/v1/variables/{name}": {"value": 1},
    "POST /api/v1/reviews/{review_id}/decision": {"decision": "reject", "fingerprint": "0" * 64},
    "PATCH /api/v1/agents/{agent_id}": {"name": "Mine"},
    "PUT /api/v1/agents/{agent_id}/workflow": {"workflow": {}},
    "PATCH /api/v1/templates/{template_id}": {"name": "Mine"},
    "POST /api/v1/templates/{template_id}/instantiate": {"name": "Mine"},
}
"""Bodies that pass the check of their shape; the other routes have none, or are not asked for another's things.
``{slug}`` is the organisation's, and of its workflow."""
QUERIES = {"/api/v1/agents/{agent_id}/diff": {"from": "1"}}
IN_ITS_BODY = {"POST /api/v1/workflows/execute", "POST /api/v1/auth/switch"}
MAKES_ITS_OWN = {
    "POST /api/v1/workflows/{workflow_id}/publish",
    "PUT /api/v1/variables/{name}",
    "DELETE /api/v1/variables/{name}",
}
"""Routes whose ids are the caller's to choose, or are the caller's by then."""


FOR_PEOPLE = {
    "POST /api/v1/auth/switch",
    "POST /api/v1/auth/logout",
    "GET /api/v1/auth/sessions",
    "DELETE /api/v1/auth/sessions",
    "DELETE /api/v1/auth/sessions/{session_id}",
    "PUT /api/v1/auth/password",
    "POST /api/v1/reviews/{review_id}/decision",
    "POST /api/v1/organizations/{slug}/deletion",
    "DELETE /api/v1/organizations/{slug}/deletion",
}
"""Routes that API keys may not use, whatever their permissions are."""
ASKS_FOR_MORE = {
    "PUT /api/v1/members/{user_id}": "beyond_own_role",
    "DELETE /api/v1/members/{user_id}": "beyond_own_role",
    "POST /api/v1/templates": "forbidden",
    "POST /api/v1/templates/{template_id}/instantiate": "forbidden",
    "GET /api/v1/export": "forbidden",
    "POST /api/v1/import": "forbidden",
}
"""Routes that ask for more than their one permission, and the code of the answer: what a member may, to give or take
their role; what one may see or write, to make a template, an agent or a zip of it."""


def routes(app: FastAPI) -> Iterator[tuple[str, str, str | None]]:
    """Method, path and permission of each route of ``/api/v1``."""
    for path, item in app.openapi()["paths"].items():
        for method in METHODS:
            if path.startswith("/api/v1/") and method in item:
                yield method.upper(), path, item[method].get("x-permission")


class TestDeclarations:
    def test_every_route_has_a_permission_or_is_public(self, application: FastAPI) -> None:
        found = list(routes(application))
        assert len(found) > 40
        for method, path, permission in found:
            assert (permission in PERMISSIONS) != ((method, path) in PUBLIC), f"{method} {path}: {permission}"

    def test_public_routes_exist(self, application: FastAPI) -> None:
        assert {(method, path) for method, path, _ in routes(application)} >= PUBLIC

    def test_no_other_door(self, application: FastAPI) -> None:
        for path in application.openapi()["paths"]:
            assert path.startswith(("/api/v1/", *OTHER_DOORS)), path

    def test_runtime_routes_ask_for_the_runtime_token(self, application: FastAPI) -> None:
        for path, item in application.openapi()["paths"].items():
            if path.startswith("/runtime/v1/"):
                assert all({"Runtime token": []} in item[method]["security"] for method in item), path

    def test_a_route_without_one_stops_the_start(self) -> None:
        router = APIRouter()

        @router.get("/api/v1/open-to-all")
        async def forgotten() -> None: ...

        with pytest.raises(RuntimeError, match="/api/v1/open-to-all"):
            declare_permissions(router.routes)


def names_anothers(route: str, role: Role) -> bool:
    """Tell whether a call of these tests names another organisation's thing. Admins may go to every organisation."""
    may_go = role == "admin" and route.endswith("/switch")
    return ("{" in route or route in IN_ITS_BODY) and route not in MAKES_ITS_OWN and not may_go


async def call(client: httpx.AsyncClient, method: str, path: str, ids: dict[str, str]) -> httpx.Response:
    body = BODIES.get(f"{method} {path}", {} if method in ("POST", "PUT", "PATCH") else None)
    if body and "{slug}" in body.values():
        body = {name: ids["slug"] if value == "{slug}" else value for name, value in body.items()}
    return await client.request(
        method, path.format(**ids), params=QUERIES.get(path), json=body, headers={"if-match": "*"}
    )


@pytest.fixture
async def theirs(people: People) -> dict[str, str]:
    """Ids of another organisation's things."""
    return await things_of(people, "theirs")


@pytest.fixture
async def ours(people: People) -> dict[str, str]:
    """Ids of the caller's organisation's things. Its execution has ended: its events are not waited for."""
    ids = await things_of(people, OURS)
    await people.sql("UPDATE workflow_executions SET status = 'success', completed_at = now(), output = '{}'")
    await people.sql(
        "UPDATE organizations SET deletion_due_at = now() + interval '14 days' WHERE slug = :slug", slug=OURS
    )
    return ids


async def things_of(people: People, slug: str) -> dict[str, str]:
    """Return ids of an organisation's things, for each parameter of a path."""
    owner = await people.client("organization_owner", slug)
    await owner.post(f"/api/v1/workflows/{slug}/publish", json=workflow(id=slug))
    answer = await owner.post("/api/v1/workflows/execute", json={"workflow_id": slug, "input": {"name": "A"}})
    execution_id = answer.json()["execution_id"]
    organization_id = await people.organization(slug)
    approval_id = await people.sql(
        "INSERT INTO approvals (organization_id, execution_id, epoch, step_id, title, assignees, on_timeout)"
        " VALUES (:org, :execution, 0, 'hello', '\"x\"', '[]', 'reject') RETURNING id",
        org=organization_id, execution=UUID(execution_id),
    )  # fmt: skip
    async with people.plane.database.transaction(organization_id) as session:
        record = StepRecord(id="hello", status="success", output=1)
        await JournalRepository(session, organization_id, UUID(execution_id)).write(0, [record], replace=True)
    await people.sql(
        "INSERT INTO adopted_runs (organization_id, dag_id, run_id, execution_id)"
        " SELECT :org, dag_id, :run, :execution FROM workflow_versions WHERE organization_id = :org",
        org=organization_id, run=execution_id, execution=UUID(execution_id),
    )  # fmt: skip
    subscription = await people.sql(
        "INSERT INTO webhook_subscriptions (organization_id, url, event_types, sealed)"
        " SELECT id, 'https://example.com', '{}', '' FROM organizations WHERE slug = :slug RETURNING id",
        slug=slug,
    )
    delivery = await people.sql(
        "INSERT INTO webhook_deliveries (organization_id, kind, event_type, url, status)"
        " SELECT id, 'callback', 'execution.finished', 'https://example.com', 'dead' FROM organizations"
        " WHERE slug = :slug RETURNING id",
        slug=slug,
    )
    letter_id = await people.sql("UPDATE outbox SET dead = true RETURNING id")
    member = await people.user(f"member@{slug}.test", "viewer", slug)
    team = (await owner.post("/api/v1/teams", json={"name": "T"})).json()["id"]
    assert (await owner.put(f"/api/v1/teams/{team}/members/{member}")).status_code == 204
    invitation = await owner.post("/api/v1/invitations", json={"email": f"n@{slug}.test", "role": "viewer"})
    key = await owner.post("/api/v1/api-keys", json={"name": "K", "permissions": ["org:read"], "expires_at": None})
    assert (await owner.put(f"/api/v1/variables/{slug}", json={"value": 1})).status_code == 201
    agent_id = (await owner.get("/api/v1/agents")).json()["agents"][0]["id"]
    review = await owner.post(f"/api/v1/agents/{agent_id}/reviews", json={})
    template = await owner.post("/api/v1/templates", json={"name": slug, "agent_id": agent_id})
    session = (await owner.get("/api/v1/auth/sessions")).json()["sessions"][0]["id"]
    return {
        "workflow_id": slug, "run_id": execution_id, "execution_id": execution_id, "approval_id": str(approval_id),
        "subscription_id": str(subscription), "delivery_id": str(delivery),
        "letter_id": str(letter_id), "user_id": str(member), "team_id": team, "slug": slug,
        "agent_id": agent_id, "number": "1", "other_id": execution_id, "name": slug,
        "invitation_id": invitation.json()["id"], "key_id": key.json()["id"],
        "review_id": review.json()["id"], "session_id": session, "template_id": template.json()["id"],
        "step_id": "hello",
    }  # fmt: skip


def in_order(app: FastAPI) -> list[tuple[str, str, str]]:
    """Routes with a permission in an order in which none takes away what a later one asks for."""
    found = [(method, path, permission) for method, path, permission in routes(app) if permission is not None]
    return sorted(found, key=lambda route: (METHODS.index(route[0].lower()), -len(route[1]), route[1]))


async def own_things(people: People, email: str) -> dict[str, str]:
    """Return ids of what is a person's own in their organisation: a session, and a key."""
    session = await people.sql(
        "SELECT s.id FROM user_sessions s JOIN users u ON u.id = s.user_id WHERE u.email = :email", email=email
    )
    key = await people.sql(
        "INSERT INTO api_keys (organization_id, name, prefix, digest, permissions, made_by)"
        " SELECT o.id, 'own', :email, '', '[]', u.id FROM organizations o, users u"
        " WHERE o.slug = :slug AND u.email = :email RETURNING id",
        slug=OURS,
        email=email,
    )
    return {"session_id": str(session), "key_id": str(key)}


class TestMatrix:
    async def test_anonymous(self, control_plane: ControlPlane) -> None:
        for method, path, permission in routes(control_plane.app):
            ids = (
                dict.fromkeys(("workflow_id", "letter_id", "name", "number", "provider", "step_id"), "1")
                | dict.fromkeys(UUIDS, NOBODY)
                | {"slug": "x"}
            )
            for client in (control_plane.public, control_plane.runtime):
                status = (await call(client, method, path, ids)).status_code
                assert (status == 401) is (permission is not None), f"{method} {path}: {status}"

    @pytest.mark.parametrize("via", ["login", "key"])
    @pytest.mark.parametrize("role", ROLES)
    async def test_role(
        self, control_plane: ControlPlane, people: People, theirs: dict[str, str], role: Role, via: str
    ) -> None:
        """403 that names the permission without it; with it never 401, and 404 for what is another organisation's."""
        enter = people.client if via == "login" else people.key
        for number, (method, path, permission) in enumerate(routes(control_plane.app)):
            if permission is None:
                continue
            client = await enter(role, email=f"user-{number}@x.test")
            answer = await call(client, method, path, theirs)
            route = f"{method} {path}"
            name = f"{route} as {role} by {via}: {answer.status_code} {answer.text}"
            if permission not in permissions_of(role):
                assert answer.status_code == 403, name
                assert answer.json()["permission"] == permission, name
            elif via == "key" and route in FOR_PEOPLE:
                assert (answer.status_code, answer.json()["code"]) == (403, "login_needed"), name
            elif names_anothers(route, role):
                assert answer.status_code == 404, name
            else:
                assert answer.status_code not in (401, 404, 405, 500), name
                assert '"permission":' not in answer.text, name

    @pytest.mark.parametrize("via", ["login", "key"])
    @pytest.mark.parametrize("role", ROLES)
    async def test_own_organisation(
        self, control_plane: ControlPlane, people: People, ours: dict[str, str], role: Role, via: str
    ) -> None:
        """With the permission never 403 or 404; without it 403, though the thing is there."""
        enter = people.client if via == "login" else people.key
        for number, (method, path, permission) in enumerate(in_order(control_plane.app)):
            email = f"user-{number}@x.test"
            client = await enter(role, slug=OURS, email=email)
            answer = await call(client, method, path, ours | await own_things(people, email))
            route = f"{method} {path}"
            name = f"{route} as {role} by {via}: {answer.status_code} {answer.text}"
            if permission not in permissions_of(role):
                assert (answer.status_code, answer.json().get("permission")) == (403, permission), name
            elif via == "key" and route in FOR_PEOPLE:
                assert (answer.status_code, answer.json()["code"]) == (403, "login_needed"), name
            else:
                assert answer.status_code not in (401, 403, 404, 405, 500), name

    async def test_scopes_of_keys(self, control_plane: ControlPlane, people: People, ours: dict[str, str]) -> None:
        """An owner's key may what its one permission lets it, and with all of the others but that one it may not."""
        all_of_them = permissions_of("organization_owner")
        for number, (method, path, permission) in enumerate(in_order(control_plane.app)):
            if permission not in all_of_them or permission == "account:own":  # Every key has that.
                continue
            route = f"{method} {path}"
            email = f"others-{number}@x.test"
            others = await people.key("organization_owner", all_of_them - {permission}, OURS, email)
            answer = await call(others, method, path, ours | await own_things(people, email))
            name = f"{route} without {permission}: {answer.status_code} {answer.text}"
            assert (answer.status_code, answer.json().get("permission")) == (403, permission), name
            email = f"only-{number}@x.test"
            only = await people.key("organization_owner", [permission], OURS, email)
            answer = await call(only, method, path, ours | await own_things(people, email))
            name = f"{route} with {permission}: {answer.status_code} {answer.text}"
            expected = "login_needed" if route in FOR_PEOPLE else ASKS_FOR_MORE.get(route)
            if expected:
                assert (answer.status_code, answer.json()["code"]) == (403, expected), name
            else:
                assert answer.status_code not in (401, 403, 404, 405, 500), name

    async def test_another_organisations_things_are_as_they_were(
        self, control_plane: ControlPlane, people: People, theirs: dict[str, str]
    ) -> None:
        owner = await people.client("organization_owner")
        for method, path, permission in routes(control_plane.app):
            if permission and "{" in path and method != "GET" and f"{method} {path}" not in MAKES_ITS_OWN:
                await call(owner, method, path, theirs)
        for statement in (
            "SELECT count(*) FROM workflow_executions WHERE status = 'pending'",
            "SELECT count(*) FROM approvals WHERE decision IS NULL",
            "SELECT count(*) FROM outbox WHERE dead",
            "SELECT count(*) FROM team_members",
            "SELECT count(*) FROM invitations WHERE revoked_at IS NULL",
            "SELECT count(*) FROM api_keys WHERE revoked_at IS NULL",
            "SELECT count(*) FROM organizations WHERE slug = 'theirs' AND name = 'theirs'",
            "SELECT count(*) FROM agents WHERE paused_at IS NULL",
            "SELECT count(*) FROM variables",
            "SELECT count(*) FROM agent_reviews WHERE decision IS NULL",
            "SELECT count(*) FROM agent_templates WHERE name = 'theirs'",
        ):
            assert await people.sql(statement) == 1, statement
        assert (await people.sql("SELECT count(*) FROM memberships m JOIN organizations o"
                                 " ON o.id = m.organization_id WHERE o.slug = 'theirs'")) == 2  # fmt: skip


UUIDS = (
    "agent_id",
    "subscription_id",
    "delivery_id",
    "run_id",
    "execution_id",
    "other_id",
    "approval_id",
    "user_id",
    "team_id",
    "invitation_id",
    "key_id",
    "session_id",
    "review_id",
    "template_id",
)
