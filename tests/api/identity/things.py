"""One thing of each kind in an organisation, and what the routes need to be asked for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from fastapi import FastAPI

from api.runtime.repository import JournalRepository
from operators.execution.records import StepRecord
from tests.api.control_plane import workflow
from tests.api.identity.people import PASSWORD, People

METHODS = ("get", "post", "put", "patch", "delete")
OURS = "ours"
"""Not the operator's own organisation, which cannot be deleted."""

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


def routes(app: FastAPI) -> Iterator[tuple[str, str, str | None]]:
    """Method, path and permission of each route of ``/api/v1``."""
    for path, item in app.openapi()["paths"].items():
        for method in METHODS:
            if path.startswith("/api/v1/") and method in item:
                yield method.upper(), path, item[method].get("x-permission")


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


async def our_things(people: People) -> dict[str, str]:
    """Ids of the caller's organisation's things. Its execution has ended: its events are not waited for."""
    ids = await things_of(people, OURS)
    await people.sql("UPDATE workflow_executions SET status = 'success', completed_at = now(), output = '{}'")
    await people.sql(
        "UPDATE organizations SET deletion_due_at = now() + interval '14 days' WHERE slug = :slug", slug=OURS
    )
    return ids


def in_order(app: FastAPI) -> list[tuple[str, str, str]]:
    """Routes with a permission in an order in which none takes away what a later one asks for."""
    found = [(method, path, permission) for method, path, permission in routes(app) if permission is not None]
    return sorted(found, key=lambda route: (METHODS.index(route[0].lower()), -len(route[1]), route[1]))


async def own_things(people: People, email: str, path: str) -> dict[str, str]:
    """Return ids of what is a person's own and a path asks for: their session, or a key in our organisation."""
    ids: dict[str, str] = {}
    if "{session_id}" in path:
        query = "SELECT s.id FROM user_sessions s JOIN users u ON u.id = s.user_id WHERE u.email = :email"
        ids["session_id"] = str(await people.sql(query, email=email))
    if "{key_id}" in path:
        key = await people.sql(
            "INSERT INTO api_keys (organization_id, name, prefix, digest, permissions, made_by)"
            " SELECT o.id, 'own', :email, '', '[]', u.id FROM organizations o, users u"
            " WHERE o.slug = :slug AND u.email = :email RETURNING id",
            slug=OURS,
            email=email,
        )
        ids["key_id"] = str(key)
    return ids
