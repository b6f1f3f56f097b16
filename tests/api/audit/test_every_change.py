"""Every route that changes something leaves exactly one entry in the audit log, from the OpenAPI document on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from api.accounts.operations import Operations
from api.audit.trail import ACTIONS, NOT_AUDITED
from api.auth import PREFIX
from api.oidc.settings import OidcProvider
from api.settings import Settings
from tests.api.control_plane import ControlPlane, workflow
from tests.api.documented import check_documented
from tests.api.identity.people import PASSWORD, People
from tests.api.oidc.providers import CLIENT_ID, CLIENT_SECRET, log_in_there, provider

pytestmark = pytest.mark.platform


def changing_routes(app: FastAPI) -> Iterator[tuple[str, str, str | None]]:
    """Method, path and action of each route of ``/api/v1`` that is no GET."""
    for path, item in app.openapi()["paths"].items():
        for method, operation in item.items():
            if path.startswith(PREFIX) and method != "get":
                yield method.upper(), path, operation.get("x-audit")


def test_every_route_is_audited_or_has_a_reason(application: FastAPI) -> None:
    found = {(method, path): action for method, path, action in changing_routes(application)}
    assert {route for route, action in found.items() if action is None} == set(NOT_AUDITED)
    assert found.keys() >= ACTIONS.keys()


@pytest.fixture
def settings(settings: Settings) -> Iterator[Settings]:
    """The settings of the other tests, with a provider to log in by."""
    with provider(["http://factory.test/login/corp"]) as issuer:
        corp = OidcProvider(name="corp", issuer=issuer, client_id=CLIENT_ID, client_secret=SecretStr(CLIENT_SECRET))
        yield settings.model_copy(update={"oidc_providers": (corp,)})


class Walk:
    """Calls routes, one after the other, and looks at the log after each."""

    def __init__(self, plane: ControlPlane, people: People) -> None:
        self.plane = plane
        self.people = people
        self.actions = {(method, path): action for method, path, action in changing_routes(plane.app)}
        self.walked: set[tuple[str, str]] = set()

    async def rows(self) -> list[tuple[str, Any, Any]]:
        """Action and digests of every entry."""
        query = "SELECT coalesce(json_agg(json_build_array(action, before, after)), '[]') FROM (%s) AS entries"
        tables = " UNION ALL ".join(f"SELECT * FROM {table}" for table in ("of_tenants", "of_platform"))
        return [tuple(row) for row in await self.people.sql(
            "WITH of_tenants AS (SELECT action, before, after FROM audit_log ORDER BY id),"
            " of_platform AS (SELECT action, before, after FROM platform_audit_log ORDER BY id) " + query % tables
        )]  # fmt: skip

    async def call(self, route: str, client: httpx.AsyncClient | None = None, **arguments: Any) -> Any:
        """Call a route; return the answer's body. Names in braces are arguments, and so is ``digests``: which of
        ``before`` and ``after`` the entry has."""
        method, path = route.split(" ")
        names = arguments.pop("names", {})
        digests = arguments.pop("digests", "")
        if method in ("POST", "PUT", "PATCH"):
            arguments.setdefault("json", {})
        before = await self.rows()
        answer = await (client or self.plane.api).request(method, path.format(**names), **arguments)
        assert answer.status_code < 300, f"{route}: {answer.status_code} {answer.text}"
        check_documented(self.plane.app, method, path, answer)
        after = list(await self.rows())
        for row in before:
            after.remove(row)
        action = self.actions[(method, path)]
        assert [row[0] for row in after] == ([] if action is None else [action]), route
        if action is not None:
            assert (bool(after[0][1]), bool(after[0][2])) == ("b" in digests, "a" in digests), route
        self.walked.add((method, path))
        return answer.json() if answer.content and "json" in answer.headers["content-type"] else answer


async def test_every_route_writes_one_entry(control_plane: ControlPlane, people: People) -> None:
    walk = Walk(control_plane, people)
    await _walk_agents(walk)
    await _walk_templates(walk)
    await _walk_reviews(walk)
    await _walk_messages(walk)
    await _walk_executions(walk)
    await _walk_relay(walk)
    await _walk_people(walk)
    await _walk_accounts(walk)
    assert set(walk.actions) - walk.walked == set()


async def _walk_agents(walk: Walk) -> None:
    call, one = walk.call, "/api/v1/agents/{agent_id}"
    made = await call("POST /api/v1/agents", json={"name": "Gone"}, digests="a")
    await call(f"DELETE {one}", names={"agent_id": made["id"]}, digests="b")
    made = await call("POST /api/v1/agents", json={"name": "Kept", "workflow": workflow()}, digests="a")
    names = {"agent_id": made["id"], "number": "1"}
    await call(f"PATCH {one}", names=names, json={"name": "Named"}, digests="ba")
    any_state = {"if-match": "*"}
    await call(f"PUT {one}/workflow", names=names, json={"workflow": workflow()}, headers=any_state, digests="ba")
    await call(f"POST {one}/preview", names=names)
    await call(f"POST {one}/test", names=names, json={"input": {"name": "Ann"}})
    await call("POST /api/v1/workflows/validate", json=workflow())
    await call(f"POST {one}/publish", names=names, headers=any_state, digests="a")
    changed = workflow(name="Other")
    await call(
        "POST /api/v1/workflows/{workflow_id}/publish", names={"workflow_id": "greet"}, json=changed, digests="ba"
    )
    await call(f"POST {one}/versions/{{number}}/rollback", names=names, digests="ba")
    await call(f"POST {one}/archive", names=names, digests="ba")
    await call(f"POST {one}/unarchive", names=names, digests="ba")
    for value in (1, 2):
        digests = "a" if value == 1 else "ba"
        await call("PUT /api/v1/variables/{name}", names={"name": "v"}, json={"value": value}, digests=digests)
    secret = {"value": "hush", "secret": True}
    await call("PUT /api/v1/variables/{name}", names={"name": "s"}, json=secret, digests="a")
    await call("DELETE /api/v1/variables/{name}", names={"name": "v"}, digests="b")


async def _walk_templates(walk: Walk) -> None:
    call, one = walk.call, "/api/v1/templates/{template_id}"
    made = await call("POST /api/v1/templates", json={"name": "T", "workflow": workflow()}, digests="a")
    names = {"template_id": made["id"]}
    await call(f"PATCH {one}", names=names, json={"name": "U"}, headers={"if-match": "*"}, digests="ba")
    await call(f"POST {one}/preview", names=names)
    await call(f"POST {one}/instantiate", names=names, json={"name": "Used"}, digests="a")
    await call(f"DELETE {one}", names=names, digests="b")


async def _walk_reviews(walk: Walk) -> None:
    call, people = walk.call, walk.people
    await call("PUT /api/v1/reviews/policy", json={"required": False}, digests="ba")
    agent = (await walk.plane.api.get("/api/v1/agents")).json()["agents"][0]
    review = await call("POST /api/v1/agents/{agent_id}/reviews", names={"agent_id": agent["id"]}, digests="a")
    ben = await people.client("organization_owner", email="ben@x.test")
    decided = {"decision": "approve", "fingerprint": review["fingerprint"]}
    path = "POST /api/v1/reviews/{review_id}/decision"
    await call(path, ben, names={"review_id": review["id"]}, json=decided, digests="a")
    archive = (await walk.plane.api.get("/api/v1/export")).content
    headers = {"content-type": "application/octet-stream"}
    await call(
        "POST /api/v1/import", json=None, content=archive, headers=headers, params={"existing": "keep"}, digests="a"
    )
    before = await walk.rows()
    tried = await walk.plane.api.post(
        "/api/v1/import", content=archive, headers=headers, params={"existing": "replace", "dry_run": "true"}
    )
    assert tried.json()["dry_run"]
    assert await walk.rows() == before


async def _walk_messages(walk: Walk) -> None:
    call, one = walk.call, "/api/v1/subscriptions/{subscription_id}"
    heard = {"url": "https://example.com/hook", "event_types": ["agent.created"]}
    made = await call("POST /api/v1/subscriptions", json=heard, digests="a")
    names = {"subscription_id": made["id"]}
    await call(f"POST {one}/pause", names=names)
    await call("POST /api/v1/agents", json={"name": "Told"}, digests="a")
    (delivery,) = (await walk.plane.api.get("/api/v1/deliveries")).json()["deliveries"]
    await call("POST /api/v1/deliveries/{delivery_id}/redeliver", names={"delivery_id": delivery["id"]})
    await call(f"POST {one}/resume", names=names)
    await call(f"DELETE {one}", names=names, digests="b")


async def _walk_executions(walk: Walk) -> None:
    call, one = walk.call, "/api/v1/executions/{execution_id}"
    started = {"workflow_id": "greet", "input": {"name": "Ann"}}
    accepted = await call("POST /api/v1/workflows/execute", json=started)
    names = {"execution_id": accepted["execution_id"]}
    await call(
        "POST /api/v1/workflows/{workflow_id}/inputs", names={"workflow_id": "greet"}, json={"input": {"name": "A"}}
    )
    await call(f"POST {one}/cancel", names=names)
    await call(f"POST {one}/retry", names=names)
    await call(f"POST {one}/cancel", names=names)
    await call(f"POST {one}/rerun", names=names)
    event = {"specversion": "1.0", "type": "made", "source": "/x", "id": "1"}
    headers = {"content-type": "application/cloudevents+json"}
    await call("POST /api/v1/events", json=event, headers=headers)
    approval = await walk.people.sql(
        "INSERT INTO approvals (organization_id, execution_id, epoch, step_id, title, assignees, on_timeout)"
        " SELECT organization_id, id, epoch, 'hello', '\"x\"', '[]', 'reject' FROM workflow_executions RETURNING id"
    )
    decided = {"decision": "approve"}
    path = "POST /api/v1/approvals/{approval_id}/decision"
    await call(path, names={"approval_id": approval}, json=decided, digests="a")


async def _walk_relay(walk: Walk) -> None:
    call = walk.call
    await call("POST /api/v1/relay/pause", digests="ba")
    await call("POST /api/v1/relay/resume", digests="ba")
    await call("POST /api/v1/workflows/{workflow_id}/pause", names={"workflow_id": "greet"}, digests="a")
    await call("POST /api/v1/workflows/{workflow_id}/resume", names={"workflow_id": "greet"}, digests="a")
    for letter in ("/{letter_id}", ""):
        await walk.people.sql(
            "UPDATE workflow_executions SET status = 'failed', error = '{\"code\": \"not_scheduled\"}',"
            " completed_at = now()"
        )
        letter_id = await walk.people.sql(
            "UPDATE outbox SET dead = true, buried_at = now() WHERE kind <> 'stop' RETURNING id"
        )
        await call(f"POST /api/v1/dead-letters{letter}/redeliver", names={"letter_id": letter_id})


async def _walk_people(walk: Walk) -> None:
    call, people = walk.call, walk.people
    member = await people.user("member@x.test", "viewer")
    team = await call("POST /api/v1/teams", json={"name": "T"}, digests="a")
    names = {"team_id": team["id"], "user_id": member}
    await call("PUT /api/v1/teams/{team_id}/members/{user_id}", names=names)
    await call("DELETE /api/v1/teams/{team_id}/members/{user_id}", names=names)
    await call("DELETE /api/v1/teams/{team_id}", names=names)
    await call("PUT /api/v1/members/{user_id}", names=names, json={"role": "developer"}, digests="ba")
    await call("DELETE /api/v1/members/{user_id}", names=names, digests="b")
    key = {"name": "K", "permissions": ["org:read"], "expires_at": None}
    made = await call("POST /api/v1/api-keys", json=key, digests="a")
    await call("DELETE /api/v1/api-keys/{key_id}", names={"key_id": made["id"]})
    invited = await call("POST /api/v1/invitations", json={"email": "n@x.test", "role": "viewer"}, digests="a")
    await call("DELETE /api/v1/invitations/{invitation_id}", names={"invitation_id": invited["id"]})
    named = {"name": "Named"}
    await call("PATCH /api/v1/organizations/{slug}", names={"slug": "default"}, json=named, digests="ba")
    admin = await people.client("admin")
    state = walk.plane.app.state
    settings = state.settings
    state.settings = settings.model_copy(update={"isolation": "kubernetes"})
    await call("POST /api/v1/organizations", admin, json={"slug": "other", "name": "Other"}, digests="a")
    state.settings = settings
    kept = {"executions": 7, "audit_log": None}
    await call("PUT /api/v1/retention", json=kept, digests="ba")
    state.settings = settings.model_copy(update={"isolation": "kubernetes"})
    await call("PUT /api/v1/warm-pods", json={"pools": [{"size": 1}]}, digests="ba")
    state.settings = settings
    owner = await people.client("organization_owner", "leaving")
    names = {"slug": "leaving"}
    path = "/api/v1/organizations/{slug}/deletion"
    await call(f"POST {path}", owner, names=names, json={"confirm": "leaving"}, digests="a")
    await call(f"DELETE {path}", owner, names=names, digests="b")


async def _walk_accounts(walk: Walk) -> None:
    call, people, plane = walk.call, walk.people, walk.plane
    operations = Operations(plane.database, plane.app.state.settings)
    link = (await operations.invitation_link("ann@x.test", "viewer", "default")).get_secret_value()
    accepted = {"token": link.partition("#token=")[2], "name": "Ann", "password": PASSWORD}
    await call("POST /api/v1/auth/invitations/accept", plane.public, json=accepted, digests="a")
    await people.sql(
        "INSERT INTO memberships (organization_id, user_id, role)"
        " SELECT o.id, u.id, 'viewer' FROM organizations o, users u WHERE slug = 'other' AND email = 'ann@x.test'"
    )

    async def log_in() -> tuple[httpx.AsyncClient, str]:
        login = {"email": "ann@x.test", "password": PASSWORD}
        tokens = await call("POST /api/v1/auth/token", plane.public, json=login)
        return people.with_token(tokens["access_token"]), tokens["refresh_token"]

    ann, refresh_token = await log_in()
    await call("POST /api/v1/auth/refresh", plane.public, json={"refresh_token": refresh_token})
    session = (await ann.get("/api/v1/auth/sessions")).json()["sessions"][0]["id"]
    changed = {"current_password": PASSWORD, "new_password": PASSWORD}
    await call("PUT /api/v1/auth/password", ann, json=changed)
    await call("DELETE /api/v1/auth/sessions/{session_id}", ann, names={"session_id": session})
    ann, _ = await log_in()
    await call("DELETE /api/v1/auth/sessions", ann)
    ann, _ = await log_in()
    await call("POST /api/v1/auth/logout", ann)
    await people.sql(
        "INSERT INTO user_identities (issuer, subject, user_id) SELECT :issuer, 'ann', id FROM users"
        " WHERE email = 'ann@x.test'",
        issuer=plane.app.state.settings.oidc_providers[0].issuer,
    )
    names = {"provider": "corp"}
    begun = await call("POST /api/v1/auth/oidc/{provider}/begin", plane.public, names=names)
    back = await log_in_there(begun["authorization_url"], "ann")
    order = {"login_token": begun["login_token"], "code": back["code"], "state": back["state"], "iss": back["iss"]}
    await call("POST /api/v1/auth/oidc/{provider}/finish", plane.public, names=names, json=order)
    ann, _ = await log_in()
    await call("POST /api/v1/auth/switch", ann, json={"organization": "other"}, digests="ba")
    await call("POST /api/v1/auth/password/forgotten", plane.public, json={"email": "ann@x.test"})
    link = (await operations.password_link("ann@x.test")).get_secret_value()
    reset = {"token": link.partition("#token=")[2], "new_password": PASSWORD}
    await call("POST /api/v1/auth/password/reset", plane.public, json=reset)
