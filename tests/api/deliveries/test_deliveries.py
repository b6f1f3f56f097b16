"""Messages arrive signed, are tried again, given up, and delivered again on demand."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text
from standardwebhooks import Webhook

from api.deliveries.attempts import DELAYS
from tests.api.control_plane import ControlPlane, webhook, workflow
from tests.api.deliveries.receiving import Receiver, dispatching, make_due, receiving
from tests.api.webhooks.signing import SECRET

pytestmark = pytest.mark.platform


async def set_secret(plane: ControlPlane, value: str = SECRET) -> None:
    body = {"value": value, "secret": True}
    assert (await plane.api.put("/api/v1/variables/callback_secret", json=body)).status_code < 300


async def call(plane: ControlPlane, url: str | None, name: str = "Ann", **headers: str) -> Any:
    given = headers | ({} if url is None else {"callback-url": url})
    return await plane.public.post("/webhook/default/greet", json={"name": name}, headers=given)


async def accepted(plane: ControlPlane, url: str) -> str:
    """Publish a workflow that calls back, and start it; return the execution's id."""
    await set_secret(plane)
    await plane.publish(workflow(trigger=webhook("greet", response={"mode": "callback"})))
    answer = await call(plane, url)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["execution_id"])


async def cancel(plane: ControlPlane, execution_id: str) -> None:
    answer = await plane.api.post(f"/api/v1/executions/{execution_id}/cancel")
    assert answer.status_code in (200, 202), answer.text


async def listed(plane: ControlPlane, **query: str) -> list[dict[str, Any]]:
    answer = await plane.api.get("/api/v1/deliveries", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["deliveries"]
    return found


def verified(receiver: Receiver, secret: str = SECRET, at: int = -1) -> Any:
    headers, body = receiver.messages[at]
    return Webhook(secret).verify(body, headers)


class TestCallback:
    async def test_tells_the_end_signed(self, control_plane: ControlPlane) -> None:
        async with receiving() as receiver, dispatching(control_plane) as dispatcher:
            execution_id = await accepted(control_plane, receiver.url)
            assert await dispatcher.round() == 0, "nothing is told before the end"
            await cancel(control_plane, execution_id)
            assert await dispatcher.round() == 1
            event = verified(receiver)
            assert (event["type"], event["specversion"]) == ("execution.finished", "1.0")
            assert (event["data"]["execution_id"], event["data"]["status"]) == (execution_id, "cancelled")
            assert receiver.messages[0][0]["content-type"] == "application/cloudevents+json"
            assert [row["status"] for row in await listed(control_plane)] == ["delivered"]
            assert await dispatcher.round() == 0

    async def test_without_an_address(self, control_plane: ControlPlane) -> None:
        await accepted(control_plane, "https://example.com/hook")
        for url, code in (
            (None, "callback_url_missing"),
            ("ftp://example.com", "invalid_callback_url"),
            ("http://user:word@example.com/", "invalid_callback_url"),
            ("https://example.com/" + "a" * 2000, "invalid_callback_url"),
        ):
            answer = await call(control_plane, url)
            assert (answer.status_code, answer.json()["code"]) == (422, code)
        assert len((await control_plane.api.get("/api/v1/executions")).json()["executions"]) == 1

    @pytest.mark.parametrize("secret", [None, "too short", "whsec_c2hvcnQ="])
    async def test_without_a_secret_nobody_gets_in(self, control_plane: ControlPlane, secret: str | None) -> None:
        if secret is not None:
            await set_secret(control_plane, secret)
        await control_plane.publish(workflow(trigger=webhook("greet", response={"mode": "callback"})))
        answer = await call(control_plane, "https://example.com/hook")
        assert (answer.status_code, answer.json()["code"]) == (503, "callback_secret_missing")
        assert not (await control_plane.api.get("/api/v1/executions")).json()["executions"]

    async def test_a_repeated_request_brings_no_second_callback(self, control_plane: ControlPlane) -> None:
        await set_secret(control_plane)
        await control_plane.publish(workflow(trigger=webhook("greet", response={"mode": "callback"})))
        first = await call(control_plane, "https://example.com/hook", **{"idempotency-key": "k"})
        again = await call(control_plane, "https://evil.example/hook", **{"idempotency-key": "k"})
        assert again.json()["execution_id"] == first.json()["execution_id"]
        assert [row["url"] for row in await listed(control_plane)] == ["https://example.com/hook"]

    async def test_whoever_joins_an_execution_is_called_back(self, control_plane: ControlPlane) -> None:
        await accepted_in_ones(control_plane)
        first, second, third = (f"https://example.com/{name}" for name in ("first", "second", "third"))
        answers = [await call(control_plane, url) for url in (first, second)]
        assert [answer.json()["existing"] for answer in answers] == [False, True]
        for _ in range(2):
            await call(control_plane, third, **{"idempotency-key": "k"})
        assert len({answer.json()["execution_id"] for answer in answers}) == 1
        urls = sorted(row["url"] for row in await listed(control_plane))
        assert urls == sorted([first, second, third])
        await cancel(control_plane, answers[0].json()["execution_id"])
        assert {row["status"] for row in await listed(control_plane)} == {"pending"}

    async def test_whoever_joins_as_it_ends_is_not_forgotten(self, control_plane: ControlPlane) -> None:
        await accepted_in_ones(control_plane)
        execution_id = (await call(control_plane, "https://example.com/first")).json()["execution_id"]
        async with control_plane.database.transaction(control_plane.organization_id) as session:
            # What an end does: it locks the row, tells who waits, and commits.
            await session.execute(
                text("UPDATE workflow_executions SET status = 'success', completed_at = now() WHERE id = :id"),
                {"id": execution_id},
            )
            joining = asyncio.create_task(call(control_plane, "https://example.com/second"))
            done, _ = await asyncio.wait([joining], timeout=0.5)
            assert not done, "it waits for the end"
        answer = (await joining).json()
        assert answer["existing"] is False
        assert answer["execution_id"] != execution_id


async def accepted_in_ones(plane: ControlPlane) -> None:
    """Publish a workflow that calls back and has one unfinished execution at a time."""
    await set_secret(plane)
    settings = {"concurrency": {"limit": 1}, "conflict": "use_existing"}
    await plane.publish(workflow(trigger=webhook("greet", response={"mode": "callback"}), settings=settings))


class TestAttempts:
    async def test_tries_again_with_the_same_id(self, control_plane: ControlPlane) -> None:
        async with receiving() as receiver, dispatching(control_plane) as dispatcher:
            receiver.statuses = [500, 302, 204]
            await cancel(control_plane, await accepted(control_plane, receiver.url))
            for _ in range(2):
                assert await dispatcher.round() == 1
                assert await dispatcher.round() == 0, "not before its time"
                await make_due(control_plane)
            assert await dispatcher.round() == 1
            assert len({headers["webhook-id"] for headers, _ in receiver.messages}) == 1
            assert len(receiver.messages) == 3
            (row,) = await listed(control_plane)
            assert (row["status"], row["attempts"], row["response_status"]) == ("delivered", 3, 204)

    async def test_is_given_up_and_delivered_again(self, control_plane: ControlPlane) -> None:
        async with receiving() as receiver, dispatching(control_plane) as dispatcher:
            receiver.statuses = [503]
            await cancel(control_plane, await accepted(control_plane, receiver.url))
            for _ in range(len(DELAYS) + 1):
                assert await dispatcher.round() == 1
                await make_due(control_plane)
            assert await dispatcher.round() == 0
            (row,) = await listed(control_plane, status="dead")
            assert (row["response_status"], row["attempts"]) == (503, len(DELAYS) + 1)
            receiver.statuses = [200]
            answer = await control_plane.api.post(f"/api/v1/deliveries/{row['id']}/redeliver")
            assert (answer.status_code, answer.json()["status"]) == (202, "pending")
            assert await dispatcher.round() == 1
            assert [each["status"] for each in await listed(control_plane)] == ["delivered"]

    async def test_gone_is_not_tried_again(self, control_plane: ControlPlane) -> None:
        async with receiving() as receiver, dispatching(control_plane) as dispatcher:
            receiver.statuses = [410]
            await cancel(control_plane, await accepted(control_plane, receiver.url))
            await dispatcher.round()
            assert [row["status"] for row in await listed(control_plane)] == ["dead"]

    async def test_private_addresses_are_refused(self, control_plane: ControlPlane) -> None:
        async with receiving() as receiver, dispatching(control_plane, allow="") as dispatcher:
            await cancel(control_plane, await accepted(control_plane, receiver.url))
            await dispatcher.round()
            assert not receiver.messages
            assert "blocked_address" in (await listed(control_plane))[0]["error"]

    async def test_several_dispatchers_send_each_once(self, control_plane: ControlPlane) -> None:
        async with receiving() as receiver, dispatching(control_plane) as one, dispatching(control_plane) as other:
            await cancel(control_plane, await accepted(control_plane, receiver.url))
            for number in range(7):
                answer = await call(control_plane, receiver.url, name=f"n{number}")
                await cancel(control_plane, answer.json()["execution_id"])
            while sum(await asyncio.gather(one.round(), other.round())):
                pass
            ids = [headers["webhook-id"] for headers, _ in receiver.messages]
            assert len(ids) == len(set(ids)) == 8

    async def test_runs_by_itself(self, control_plane: ControlPlane) -> None:
        async with receiving() as receiver, dispatching(control_plane) as dispatcher:
            task = asyncio.create_task(dispatcher.run())
            await cancel(control_plane, await accepted(control_plane, receiver.url))
            async with asyncio.timeout(20):
                while not [row for row in await listed(control_plane) if row["status"] == "delivered"]:
                    await asyncio.sleep(0.02)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert json.loads(receiver.messages[0][1])["data"]["status"] == "cancelled"

    async def test_wakes_by_itself(self, control_plane: ControlPlane) -> None:
        settings = control_plane.app.state.settings.model_copy(update={"relay_poll_seconds": 3600.0})
        async with receiving() as receiver, dispatching(control_plane, settings=settings) as dispatcher:
            task = asyncio.create_task(dispatcher.run())
            ended = await accepted(control_plane, receiver.url)
            # The first may be found by its first look; the others are told of.
            for number in range(1, 4):
                await cancel(control_plane, ended)
                async with asyncio.timeout(20):
                    while len(receiver.messages) < number:
                        await asyncio.sleep(0.02)
                answer = await call(control_plane, receiver.url, name=f"n{number}")
                ended = answer.json()["execution_id"]
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


class TestEndpoints:
    async def test_unknown(self, control_plane: ControlPlane) -> None:
        for name in (str(uuid4()), "nothing"):
            assert (await control_plane.api.get(f"/api/v1/deliveries/{name}")).status_code == 404
            assert (await control_plane.api.post(f"/api/v1/deliveries/{name}/redeliver")).status_code == 404

    async def test_what_waits_cannot_be_delivered(self, control_plane: ControlPlane) -> None:
        await accepted(control_plane, "https://example.com/hook")
        (row,) = await listed(control_plane)
        answer = await control_plane.api.post(f"/api/v1/deliveries/{row['id']}/redeliver")
        assert (row["status"], answer.status_code, answer.json()["code"]) == ("waiting", 409, "still_waiting")

    async def test_pages(self, control_plane: ControlPlane) -> None:
        await accepted(control_plane, "https://example.com/1")
        await call(control_plane, "https://example.com/2", name="Bob")
        first = (await control_plane.api.get("/api/v1/deliveries", params={"limit": 1})).json()
        second = await listed(control_plane, before=first["next"])
        urls = [each["url"] for each in (*first["deliveries"], *second)]
        assert urls == ["https://example.com/2", "https://example.com/1"]
