"""The same request again, by its key, starts nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from api.idempotency.keys import RequestKey
from api.idempotency.repository import IdempotencyRepository
from api.organizations.repository import OrganizationRepository
from tests.api.control_plane import ControlPlane, workflow
from tests.api.relay.test_limits import rows

pytestmark = pytest.mark.platform


async def execute(plane: ControlPlane, key: str, name: str = "Ann") -> httpx.Response:
    body = {"workflow_id": "greet", "input": {"name": name}}
    return await plane.api.post("/api/v1/workflows/execute", json=body, headers={"idempotency-key": key})


async def call(plane: ControlPlane, key: str, name: str = "Ann", header: str = "idempotency-key") -> httpx.Response:
    return await plane.public.post("/webhook/default/greet", json={"name": name}, headers={header: key})


async def count(plane: ControlPlane) -> list[tuple[int, int]]:
    statement = "SELECT (SELECT count(*) FROM workflow_executions), (SELECT count(*) FROM outbox)"
    return await rows(plane, statement)


@pytest.mark.parametrize("door", [execute, call], ids=["api", "webhook"])
class TestKey:
    async def test_a_hundred_at_once_start_one(self, control_plane: ControlPlane, door: Any) -> None:
        await control_plane.publish()
        answers = await asyncio.gather(*(door(control_plane, "once") for _ in range(100)))
        assert {answer.status_code for answer in answers} <= {202, 409}
        assert len({answer.text for answer in answers if answer.status_code == 202}) == 1
        assert {answer.json()["code"] for answer in answers if answer.status_code == 409} <= {"request_in_flight"}
        assert await count(control_plane) == [(1, 1)]

    async def test_in_flight(self, control_plane: ControlPlane, door: Any) -> None:
        """While the first request is being accepted, the same one is refused at once; another one is not."""
        await control_plane.publish()
        async with control_plane.database.system() as session:
            organization_id = await OrganizationRepository(session).find("default")
            assert organization_id is not None
            scope = "execute" if door is execute else "webhook POST greet"
            assert await IdempotencyRepository(session, organization_id).take(RequestKey(scope, "once", ""))
            refused = await door(control_plane, "once")
            assert (refused.status_code, refused.json()["code"]) == (409, "request_in_flight")
            assert refused.headers["retry-after"] == "1"
            assert (await door(control_plane, "another")).status_code == 202
        assert (await door(control_plane, "once")).status_code == 202
        assert await count(control_plane) == [(2, 2)]

    async def test_the_same_answer(self, control_plane: ControlPlane, door: Any) -> None:
        """Also when the execution has gone on since."""
        digest = (await control_plane.publish())["digest"]
        first = await door(control_plane, "once")
        assert "idempotent-replayed" not in first.headers
        await control_plane.lease(first.json()["execution_id"], digest)
        again = await door(control_plane, "once")
        assert (again.status_code, again.text) == (first.status_code, first.text)
        assert again.headers["idempotent-replayed"] == "true"
        assert again.headers["location"] == first.headers["location"]

    async def test_an_answer_of_a_version_that_kept_none(self, control_plane: ControlPlane, door: Any) -> None:
        await control_plane.publish()
        first = await door(control_plane, "once")
        await rows(control_plane, "UPDATE idempotency_keys SET answer = NULL")
        again = await door(control_plane, "once")
        assert again.json() == first.json() | {"existing": True}
        assert again.headers["idempotent-replayed"] == "true"

    async def test_another_key_starts_another(self, control_plane: ControlPlane, door: Any) -> None:
        await control_plane.publish()
        await door(control_plane, "one")
        await door(control_plane, "two")
        assert await count(control_plane) == [(2, 2)]

    async def test_another_request_of_the_same_key(self, control_plane: ControlPlane, door: Any) -> None:
        await control_plane.publish()
        first = (await door(control_plane, "once")).json()["execution_id"]
        answer = await door(control_plane, "once", "Bob")
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
        assert answer.json()["execution_id"] == first
        assert await count(control_plane) == [(1, 1)]

    async def test_a_refused_request_keeps_no_key(self, control_plane: ControlPlane, door: Any) -> None:
        await control_plane.publish(workflow(input={"type": "object", "required": ["missing"]}))
        assert (await door(control_plane, "once")).status_code == 422
        await control_plane.publish()
        assert (await door(control_plane, "once")).status_code == 202

    async def test_a_key_is_forgotten_after_a_day(self, control_plane: ControlPlane, door: Any) -> None:
        await control_plane.publish()
        await door(control_plane, "once")
        await rows(control_plane, "UPDATE idempotency_keys SET expires_at = expires_at - interval '25 hours'")
        assert (await door(control_plane, "once")).status_code == 202
        assert await rows(control_plane, "SELECT count(*) FROM workflow_executions") == [(2,)]
        # Known again from now on.
        await door(control_plane, "once")
        assert await rows(control_plane, "SELECT count(*) FROM workflow_executions") == [(2,)]

    @pytest.mark.parametrize("key", ["", "a b", "x" * 256])
    async def test_no_key(self, control_plane: ControlPlane, door: Any, key: str) -> None:
        await control_plane.publish()
        answer = await door(control_plane, key)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_idempotency_key")


async def test_the_same_answer_of_a_conflict(control_plane: ControlPlane) -> None:
    """Who was answered the unfinished execution is answered that again, when it has ended too."""
    await control_plane.publish(workflow(settings={"concurrency": {"limit": 1}, "conflict": "use_existing"}))
    running = (await execute(control_plane, "one")).json()["execution_id"]
    joined = await execute(control_plane, "two")
    assert (joined.status_code, joined.json()["execution_id"], joined.json()["existing"]) == (200, running, True)
    assert (await control_plane.api.post(f"/api/v1/executions/{running}/cancel")).is_success
    again = await execute(control_plane, "two")
    assert (again.status_code, again.text) == (200, joined.text)


async def test_the_doors_do_not_share_keys(control_plane: ControlPlane) -> None:
    await control_plane.publish()
    await execute(control_plane, "once")
    await call(control_plane, "once")
    assert await count(control_plane) == [(2, 2)]


async def test_a_delivery_of_standard_webhooks(control_plane: ControlPlane) -> None:
    await control_plane.publish()
    """One that comes twice at once waits: its sender would take a refusal for a failure."""
    answers = await asyncio.gather(*(call(control_plane, "msg_1", header="webhook-id") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.text for answer in answers}) == 1
