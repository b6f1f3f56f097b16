"""The same request again, by its key, starts nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

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
        assert {answer.status_code for answer in answers} <= {200, 202}
        assert len({answer.json()["execution_id"] for answer in answers}) == 1
        assert await count(control_plane) == [(1, 1)]

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


async def test_a_repeated_answer_shows_how_it_stands(control_plane: ControlPlane) -> None:
    digest = (await control_plane.publish())["digest"]
    first = await execute(control_plane, "once")
    assert (first.status_code, first.json()["existing"]) == (202, False)
    await control_plane.lease(first.json()["execution_id"], digest)
    again = await execute(control_plane, "once")
    assert (again.status_code, again.json()) == (200, first.json() | {"existing": True, "status": "running"})
    assert again.headers["location"] == first.headers["location"]


async def test_the_doors_do_not_share_keys(control_plane: ControlPlane) -> None:
    await control_plane.publish()
    await execute(control_plane, "once")
    await call(control_plane, "once")
    assert await count(control_plane) == [(2, 2)]


async def test_a_delivery_of_standard_webhooks(control_plane: ControlPlane) -> None:
    await control_plane.publish()
    answers = [await call(control_plane, "msg_1", header="webhook-id") for _ in range(2)]
    assert answers[0].json()["execution_id"] == answers[1].json()["execution_id"]
