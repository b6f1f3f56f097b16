"""In whose name an approval is decided: only the operator's token chooses."""

from __future__ import annotations

import httpx
import pytest

from tests.api.approvals.test_approval_endpoints import APPROVALS, begin
from tests.api.control_plane import ControlPlane
from tests.api.identity.people import People
from tests.api.identity.test_api_keys import make

pytestmark = pytest.mark.platform


async def caller(plane: ControlPlane, people: People, kind: str) -> httpx.AsyncClient:
    """A person, a key of theirs, a key of the operator, or the operator's token."""
    maker = await people.client("team_lead", email="ann@x.test") if "person" in kind else plane.api
    if "key" not in kind:
        return maker
    return people.with_token((await make(maker, "approval:*")).json()["key"])


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        ("a person", "ann@x.test"),
        ("a person's key", "ann@x.test"),
        ("the operator's key", "api"),
        ("the operator's token", "api"),
    ],
)
async def test_in_the_own_name(control_plane: ControlPlane, people: People, kind: str, own: str) -> None:
    client = await caller(control_plane, people, kind)
    for body in ({"decision": "approve"}, {"decision": "approve", "by": own}):
        asked = await begin(control_plane)
        answer = await client.post(f"{APPROVALS}/{asked.id}/decision", json=body)
        assert (answer.status_code, answer.json().get("by")) == (200, own)


@pytest.mark.parametrize("kind", ["a person", "a person's key", "the operator's key"])
async def test_in_nobody_elses(control_plane: ControlPlane, people: People, kind: str) -> None:
    asked = await begin(control_plane, assignees=["boss@x.test"])
    client = await caller(control_plane, people, kind)
    answer = await client.post(f"{APPROVALS}/{asked.id}/decision", json={"decision": "approve", "by": "boss@x.test"})
    assert (answer.status_code, answer.json()["code"]) == (403, "not_yourself")
    assert (await asked.show())["status"] == "pending"


async def test_the_token_names_others(control_plane: ControlPlane) -> None:
    asked = await begin(control_plane, assignees=["boss@x.test"])
    answer = await asked.decide(by="boss@x.test")
    assert (answer.status_code, answer.json()["by"]) == (200, "boss@x.test")
