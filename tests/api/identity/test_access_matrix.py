"""Every route for every role, from the OpenAPI document and the table of permissions."""

from __future__ import annotations

from functools import partial

import httpx
import pytest
from fastapi import APIRouter, FastAPI

from api.auth import PUBLIC, declare_permissions
from api.identity.permissions import PERMISSIONS, ROLES, Role, permissions_of
from tests.api.control_plane import ControlPlane
from tests.api.identity.people import People
from tests.api.identity.things import BODIES, OURS, QUERIES, in_order, own_things, routes, things_of

pytestmark = pytest.mark.platform

NOBODY = "01990000-0000-7000-8000-0000000000ff"
OTHER_DOORS = ("/health", "/ready", "/metrics", "/webhook/", "/runtime/v1/", "/.well-known/jwks.json")

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


class Callers:
    """Clients of people of one role, by a login or an API key: a new person after each route that could end a login."""

    def __init__(self, people: People, role: Role, via: str, slug: str = "default") -> None:
        self._people = people
        self._enter = partial(people.client if via == "login" else people.key, role, slug=slug)
        self._number = 0
        self._client: httpx.AsyncClient | None = None
        self._email = ""

    async def call(self, method: str, path: str, ids: dict[str, str]) -> httpx.Response:
        """Call a route; in our organisation for what is the caller's own where it is about that."""
        if self._client is None:
            self._number += 1
            self._email = f"user-{self._number}@x.test"
            self._client = await self._enter(email=self._email)
        client = self._client
        if path.startswith("/api/v1/auth/"):
            self._client = None
        own = await own_things(self._people, self._email, path) if ids["slug"] == OURS else {}
        return await call(client, method, path, ids | own)


@pytest.fixture
async def theirs(people: People) -> dict[str, str]:
    """Ids of another organisation's things."""
    return await things_of(people, "theirs")


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
        callers = Callers(people, role, via)
        for method, path, permission in routes(control_plane.app):
            if permission is None:
                continue
            answer = await callers.call(method, path, theirs)
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
        callers = Callers(people, role, via, OURS)
        for method, path, permission in in_order(control_plane.app):
            answer = await callers.call(method, path, ours)
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
        keys: dict[tuple[str, str], httpx.AsyncClient] = {}

        async def ask(which: str, permission: str, method: str, path: str) -> httpx.Response:
            email = f"{which}-{permission.replace(':', '-')}@x.test".replace("*", "all")
            if (which, permission) not in keys:
                allowed = [permission] if which == "only" else all_of_them - {permission}
                keys[which, permission] = await people.key("organization_owner", allowed, OURS, email)
            return await call(keys[which, permission], method, path, ours | await own_things(people, email, path))

        for method, path, permission in in_order(control_plane.app):
            if permission not in all_of_them or permission == "account:own":  # Every key has that.
                continue
            route = f"{method} {path}"
            answer = await ask("others", permission, method, path)
            name = f"{route} without {permission}: {answer.status_code} {answer.text}"
            assert (answer.status_code, answer.json().get("permission")) == (403, permission), name
            answer = await ask("only", permission, method, path)
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
