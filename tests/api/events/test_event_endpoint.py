"""POST /api/v1/events, and the events of steps."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any, ClassVar

import pytest
from sqlalchemy import text

from api.events.cloudevents import BATCH, STRUCTURED
from tests.api.control_plane import ControlPlane, workflow

pytestmark = pytest.mark.platform

EVENT = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "order.made"}


def on(kind: str = "order.made", condition: str | None = None) -> dict[str, Any]:
    return {"type": "event", "config": {"type": kind} | ({"filter": condition} if condition else {})}


def subscriber(workflow_id: str = "greet", condition: str | None = None, **changes: Any) -> dict[str, Any]:
    return workflow(id=workflow_id, trigger=on(condition=condition)) | changes


async def send(plane: ControlPlane, **changes: Any) -> Any:
    event = {**EVENT, "data": {"name": "Ann"}, **changes}
    return await plane.api.post("/api/v1/events", json=event, headers={"content-type": STRUCTURED})


async def count(plane: ControlPlane) -> int:
    async with plane.database.system() as session:
        return int(await session.scalar(text("SELECT count(*) FROM workflow_executions")) or 0)


class TestSendEvent:
    async def test_anonymous(self, control_plane: ControlPlane) -> None:
        assert (await control_plane.public.post("/api/v1/events", json=EVENT)).status_code == 401

    async def test_nobody_waits(self, control_plane: ControlPlane) -> None:
        response = await send(control_plane)
        assert (response.status_code, response.json()) == (202, {"event_id": "1", "executions": []})

    async def test_started(self, control_plane: ControlPlane) -> None:
        await control_plane.publish(subscriber())
        response = await send(control_plane, subject="s", time="2026-01-02T03:04:05Z", extension="x")
        [started] = response.json()["executions"]
        assert (started["workflow_id"], started["error"]) == ("greet", None)
        shown = await control_plane.show(started["execution_id"])
        assert shown["input"] == {"name": "Ann"}
        assert shown["trigger"] == {
            "type": "event",
            "method": None,
            "path": None,
            "headers": {},
            "query": {},
            "event": {
                "id": "1", "source": "/shop", "type": "order.made", "subject": "s", "time": "2026-01-02T03:04:05Z",
            },
        }  # fmt: skip

    async def test_filters(self, control_plane: ControlPlane) -> None:
        await control_plane.publish(subscriber("ann", "{{ input.name == 'Ann' }}"))
        await control_plane.publish(subscriber("bob", "{{ input.name == 'Bob' }}"))
        await control_plane.publish(subscriber("shop", "{{ trigger.event.source == '/shop' }}"))
        await control_plane.publish(subscriber("broken", "{{ input.age > 3 }}"))
        executions = {each["workflow_id"]: each for each in (await send(control_plane)).json()["executions"]}
        assert set(executions) == {"ann", "shop", "broken"}
        assert executions["broken"]["execution_id"] is None
        assert "filter" in executions["broken"]["error"]["message"]

    async def test_a_schema_that_refuses_keeps_no_other_from_starting(self, control_plane: ControlPlane) -> None:
        await control_plane.publish(subscriber("strict", input={"type": "object", "required": ["age"]}))
        await control_plane.publish(subscriber("easy"))
        executions = {each["workflow_id"]: each for each in (await send(control_plane)).json()["executions"]}
        assert executions["strict"]["error"]["code"] == "invalid_input"
        assert executions["easy"]["execution_id"] is not None

    async def test_two_triggers_of_one_workflow_start_it_once(self, control_plane: ControlPlane) -> None:
        document = workflow(
            triggers=[on(condition="{{ false }}"), on(), on(condition="{{ true }}"), {"type": "manual"}]
        )
        del document["trigger"]
        await control_plane.publish(document)
        assert len((await send(control_plane)).json()["executions"]) == 1
        assert await count(control_plane) == 1

    async def test_a_newer_version_waits_for_other_events(self, control_plane: ControlPlane) -> None:
        await control_plane.publish(subscriber())
        await control_plane.publish(workflow(trigger=on("order.sent")))
        assert (await send(control_plane)).json()["executions"] == []
        assert len((await send(control_plane, type="order.sent", id="2")).json()["executions"]) == 1


class TestAgain:
    async def test_same_answer(self, control_plane: ControlPlane) -> None:
        await control_plane.publish(subscriber())
        first, again = await send(control_plane), await send(control_plane, data={"name": "Bob"})
        assert first.json() == again.json()
        assert await count(control_plane) == 1

    async def test_another_source(self, control_plane: ControlPlane) -> None:
        await control_plane.publish(subscriber())
        await send(control_plane)
        await send(control_plane, source="/other")
        assert await count(control_plane) == 2

    async def test_at_once(self, control_plane: ControlPlane) -> None:
        await control_plane.publish(subscriber())
        answers = await asyncio.gather(*(send(control_plane) for _ in range(8)))
        assert len({json.dumps(answer.json()) for answer in answers}) == 1
        assert await count(control_plane) == 1

    async def test_after_a_day(self, control_plane: ControlPlane) -> None:
        await control_plane.publish(subscriber())
        await send(control_plane)
        async with control_plane.database.system() as session:
            await session.execute(text("UPDATE received_events SET received_at = now() - interval '25 h'"))
        await send(control_plane)
        assert await count(control_plane) == 2


class TestModes:
    async def test_binary(self, control_plane: ControlPlane) -> None:
        await control_plane.publish(subscriber())
        headers = {f"ce-{name}": value for name, value in EVENT.items()} | {"ce-subject": "Gr%C3%BC%C3%9Fe"}
        response = await control_plane.api.post("/api/v1/events", json={"name": "Ann"}, headers=headers)
        [started] = response.json()["executions"]
        shown = await control_plane.show(started["execution_id"])
        assert shown["input"] == {"name": "Ann"}
        assert shown["trigger"]["event"]["subject"] == "Grüße"

    async def test_batch(self, control_plane: ControlPlane) -> None:
        await control_plane.publish(subscriber())
        batch = [{**EVENT, "id": number, "data": {"name": number}} for number in ("1", "2", "1")]
        response = await control_plane.api.post("/api/v1/events", json=batch, headers={"content-type": BATCH})
        assert response.status_code == 202
        one, two, again = response.json()
        assert (one["event_id"], two["event_id"], again) == ("1", "2", one)
        assert await count(control_plane) == 2

    async def test_batch_with_a_slip_is_refused_as_a_whole(self, control_plane: ControlPlane) -> None:
        await control_plane.publish(subscriber())
        batch = [{**EVENT, "data": {"name": "Ann"}}, {**EVENT, "id": ""}]
        response = await control_plane.api.post("/api/v1/events", json=batch, headers={"content-type": BATCH})
        assert response.status_code == 422
        assert [error["pointer"] for error in response.json()["errors"]] == ["/1/id"]
        assert await count(control_plane) == 0

    async def test_base64(self, control_plane: ControlPlane) -> None:
        await control_plane.publish(subscriber())
        event = {**EVENT, "data_base64": base64.b64encode(b'{"name": "Ann"}').decode()}
        response = await control_plane.api.post("/api/v1/events", json=event, headers={"content-type": STRUCTURED})
        [started] = response.json()["executions"]
        assert (await control_plane.show(started["execution_id"]))["input"] == {"name": "Ann"}

    @pytest.mark.parametrize(
        ("changes", "pointer"),
        [
            ({"id": None}, "/id"),
            ({"id": ""}, "/id"),
            ({"id": 7}, "/id"),
            ({"id": "x" * 501}, "/id"),
            ({"id": "a\u0000"}, "/id"),
            ({"source": ""}, "/source"),
            ({"type": []}, "/type"),
            ({"specversion": "0.3"}, "/specversion"),
            ({"subject": ""}, "/subject"),
            ({"time": "yesterday"}, "/time"),
            ({"time": "2026-01-02T03:04:05"}, "/time"),
            ({"data_base64": "e30="}, ""),
        ],
    )
    async def test_slips(self, control_plane: ControlPlane, changes: dict[str, Any], pointer: str) -> None:
        response = await send(control_plane, **changes)
        assert (response.status_code, response.json()["code"]) == (422, "invalid_event")
        assert [error["pointer"] for error in response.json()["errors"]] == [pointer]

    @pytest.mark.parametrize("name", ["specversion", "id", "source", "type"])
    async def test_missing(self, control_plane: ControlPlane, name: str) -> None:
        event = {key: value for key, value in EVENT.items() if key != name}
        response = await control_plane.api.post("/api/v1/events", json=event, headers={"content-type": STRUCTURED})
        assert response.status_code == 422
        assert f"`{name}`" in response.json()["detail"]

    @pytest.mark.parametrize(
        ("content_type", "body", "status"),
        [
            ("application/json", b"{}", 415),
            ("text/plain", b"x", 415),
            (STRUCTURED, b"{", 400),
            (STRUCTURED, b"[]", 422),
            (BATCH, b"{}", 422),
            (BATCH, json.dumps([EVENT] * 101).encode(), 422),
        ],
    )
    async def test_other_bodies(self, control_plane: ControlPlane, content_type: str, body: bytes, status: int) -> None:
        response = await control_plane.api.post("/api/v1/events", content=body, headers={"content-type": content_type})
        assert response.status_code == status

    async def test_data_that_is_no_json(self, control_plane: ControlPlane) -> None:
        headers = {f"ce-{name}": value for name, value in EVENT.items()} | {"content-type": "text/plain"}
        response = await control_plane.api.post("/api/v1/events", content=b"hello", headers=headers)
        assert response.status_code == 415


class TestEmitEvent:
    EMISSION: ClassVar[dict[str, Any]] = {"epoch": 0, "step_id": "hello", "type": "order.made", "data": {"name": "Eve"}}

    async def emitter(self, plane: ControlPlane) -> str:
        """Return an execution that is at work."""
        digest = (await plane.publish(workflow(id="emitter", trigger={"type": "manual"})))["digest"]
        execution_id = await plane.execute(workflow_id="emitter")
        await plane.lease(execution_id, digest, workflow_id="emitter")
        return execution_id

    async def test_others_start(self, control_plane: ControlPlane) -> None:
        await control_plane.publish(subscriber())
        execution_id = await self.emitter(control_plane)
        answers = [await control_plane.call(execution_id, "events", self.EMISSION) for _ in range(2)]
        assert answers[0].status_code == 200
        assert answers[0].json() == answers[1].json()
        async with control_plane.database.system() as session:
            rows = (
                await session.execute(text("SELECT id, depth, input, trigger FROM workflow_executions WHERE depth > 0"))
            ).all()
        [(_, depth, value, trigger)] = rows
        assert (depth, value) == (1, {"name": "Eve"})
        assert trigger["event"]["id"] == answers[0].json()["event_id"]
        assert trigger["event"]["source"] == "/default/workflows/emitter"

    async def test_a_higher_epoch_is_another_event(self, control_plane: ControlPlane) -> None:
        execution_id = await self.emitter(control_plane)
        first = await control_plane.call(execution_id, "events", self.EMISSION)
        second = await control_plane.call(execution_id, "events", self.EMISSION | {"epoch": 1})
        assert first.json() != second.json()

    async def test_too_deep(self, control_plane: ControlPlane) -> None:
        execution_id = await self.emitter(control_plane)
        for depth, status in ((15, 200), (16, 409)):
            async with control_plane.database.system() as session:
                await session.execute(text("UPDATE workflow_executions SET depth = :depth"), {"depth": depth})
            answer = await control_plane.call(execution_id, "events", self.EMISSION)
            assert answer.status_code == status
        assert answer.json()["code"] == "depth_exceeded"

    async def test_ended(self, control_plane: ControlPlane) -> None:
        execution_id = await self.emitter(control_plane)
        async with control_plane.database.system() as session:
            await session.execute(text("UPDATE leases SET expires_at = now() - interval '1 s'"))
        await control_plane.api.post(f"/api/v1/executions/{execution_id}/cancel")
        answer = await control_plane.call(execution_id, "events", self.EMISSION)
        assert (answer.status_code, answer.json()["code"]) == (410, "execution_ended")

    async def test_another_organisation_hears_nothing(self, control_plane: ControlPlane) -> None:
        await control_plane.publish(subscriber())
        execution_id = await self.emitter(control_plane)
        async with control_plane.database.system() as session:
            await session.execute(text("INSERT INTO organizations (slug, name) VALUES ('other', 'o')"))
            await session.execute(
                text(
                    "INSERT INTO agents (organization_id, id, workflow_id, name)"
                    " SELECT o.id, a.id, a.workflow_id, a.name FROM agents a, organizations o"
                    " WHERE o.slug = 'other' AND a.workflow_id = 'greet'"
                )
            )
            moved = (
                "UPDATE event_subscriptions SET organization_id = (SELECT id FROM organizations WHERE slug = 'other')"
            )
            await session.execute(text(moved))
        await control_plane.call(execution_id, "events", self.EMISSION)
        assert await count(control_plane) == 1
