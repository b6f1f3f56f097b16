"""POST /api/v1/workflows/execute and GET /api/v1/executions/{id}."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from operators.execution.records import StepError, StepRecord, Usage
from tests.api.control_plane import UNIT, ControlPlane, workflow

pytestmark = pytest.mark.platform

EXECUTE = "/api/v1/workflows/execute"


class TestExecuteWorkflow:
    async def test_anonymous(self, control_plane: ControlPlane) -> None:
        response = await control_plane.public.post(EXECUTE, json={"workflow_id": "greet"})
        assert response.status_code == 401

    async def test_accepted(self, control_plane: ControlPlane) -> None:
        await control_plane.publish()
        response = await control_plane.api.post(EXECUTE, json={"workflow_id": "greet", "input": {"name": "Ann"}})
        body = response.json()
        assert response.status_code == 202
        assert body["status"] == "pending"
        assert response.headers["location"] == f"/api/v1/executions/{body['execution_id']}"
        assert (await control_plane.api.get(response.headers["location"])).status_code == 200

    async def test_execution_and_outbox_entry_come_together(self, control_plane: ControlPlane) -> None:
        await control_plane.publish()
        execution_id = await control_plane.execute()
        async with control_plane.database.system() as session:
            rows = (await session.execute(text("SELECT execution_id, dag_id FROM outbox"))).all()
        assert [(str(row[0]), row[1]) for row in rows] == [(execution_id, "default__greet")]

    async def test_unpublished_workflow(self, control_plane: ControlPlane) -> None:
        response = await control_plane.api.post(EXECUTE, json={"workflow_id": "greet"})
        assert (response.status_code, response.json()["code"]) == (404, "not_found")

    async def test_input_that_breaks_the_schema_makes_no_execution(self, control_plane: ControlPlane) -> None:
        await control_plane.publish()
        response = await control_plane.api.post(EXECUTE, json={"workflow_id": "greet", "input": {"name": 7}})
        problem = response.json()
        assert (response.status_code, problem["code"]) == (422, "invalid_input")
        assert problem["errors"][0]["pointer"] == "/name"
        async with control_plane.database.system() as session:
            assert await session.scalar(text("SELECT count(*) FROM workflow_executions")) == 0

    async def test_missing_input_is_an_empty_object(self, control_plane: ControlPlane) -> None:
        await control_plane.publish(workflow(input={"type": "object"}))
        response = await control_plane.api.post(EXECUTE, json={"workflow_id": "greet"})
        assert (await control_plane.show(response.json()["execution_id"]))["input"] == {}

    @pytest.mark.parametrize(
        "value", [None, [1, 2.5, True], "a\u0000b", {"z": 1, "a": {"b": None}}, 1e300, "💶 {{ input }}"]
    )
    async def test_any_json_comes_back_as_it_was(self, control_plane: ControlPlane, value: Any) -> None:
        document = workflow()
        del document["input"]
        await control_plane.publish(document)
        response = await control_plane.api.post(EXECUTE, json={"workflow_id": "greet", "input": value})
        shown = await control_plane.show(response.json()["execution_id"])
        assert shown["input"] == value
        if isinstance(value, dict):
            assert list(shown["input"]) == list(value)

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (b"{", 400),
            (b'{"workflow_id": "greet", "input": NaN}', 400),
            (b"[" * 200 + b"]" * 200, 400),
            (b"[]", 422),
            (b"{}", 422),
            (b'{"workflow_id": 7}', 422),
            (b'{"workflow_id": "greet", "inputs": {}}', 422),
            (b'{"workflow_id": "gre\\u0000et"}', 422),
        ],
    )
    async def test_bad_request(self, control_plane: ControlPlane, body: bytes, status: int) -> None:
        response = await control_plane.api.post(EXECUTE, content=body, headers={"content-type": "application/json"})
        assert response.status_code == status
        assert response.headers["content-type"] == "application/problem+json"


class TestGetExecution:
    async def test_anonymous(self, control_plane: ControlPlane) -> None:
        assert (await control_plane.public.get(f"/api/v1/executions/{uuid4()}")).status_code == 401

    @pytest.mark.parametrize("execution_id", ["01990000-0000-7000-8000-000000000000", "nonsense", "manual__2026-01-01"])
    async def test_unknown(self, control_plane: ControlPlane, execution_id: str) -> None:
        response = await control_plane.api.get(f"/api/v1/executions/{execution_id}")
        assert (response.status_code, response.json()["code"]) == (404, "not_found")

    async def test_other_organisation(self, control_plane: ControlPlane) -> None:
        await control_plane.publish()
        execution_id = await control_plane.execute()
        control_plane.act_for(uuid4())
        assert (await control_plane.api.get(f"/api/v1/executions/{execution_id}")).status_code == 404

    async def test_pending_shows_every_step(self, control_plane: ControlPlane) -> None:
        published = await control_plane.publish()
        shown = await control_plane.show(await control_plane.execute())
        assert [(step["id"], step["type"], step["status"]) for step in shown["steps"]] == [
            ("hello", "transform", "pending"),
            ("bye", "transform", "pending"),
        ]
        assert (shown["status"], shown["version"], shown["digest"]) == ("pending", 1, published["digest"])
        assert (shown["started_at"], shown["completed_at"], shown["duration_ms"]) == (None, None, None)

    async def test_link_to_airflow(self, control_plane: ControlPlane) -> None:
        await control_plane.publish()
        execution_id = await control_plane.execute()
        shown = await control_plane.show(execution_id)
        assert shown["airflow_url"] == f"http://127.0.0.1:9/dags/default__greet/runs/{execution_id}"

    async def test_running_steps(self, control_plane: ControlPlane) -> None:
        published = await control_plane.publish()
        execution_id = await control_plane.execute()
        grant = await control_plane.lease(execution_id, published["digest"])
        await control_plane.journal(execution_id, grant["token"], running=["hello"])
        shown = await control_plane.show(execution_id)
        assert shown["status"] == "running"
        assert [step["status"] for step in shown["steps"]] == ["running", "pending"]
        await control_plane.journal(execution_id, grant["token"], StepRecord(id="hello", status="success"))
        assert [step["status"] for step in (await control_plane.show(execution_id))["steps"]] == ["success", "pending"]

    async def test_items_of_a_map(self, control_plane: ControlPlane) -> None:
        body = [
            {"id": "a", "type": "transform", "config": {"set": {"n": 1}}, "next": ["b"]},
            {"id": "b", "type": "transform", "config": {"set": {"n": 1}}, "on_error": "continue"},
        ]
        config = {"over": "{{ input.l }}", "tasks": body, "on_item_error": "continue"}
        many = {"id": "hello", "type": "map", "config": config, "next": ["bye"]}
        last = {"id": "bye", "type": "transform", "config": {"set": {"n": 1}}}
        published = await control_plane.publish(workflow(tasks=[many, last]))
        execution_id = await control_plane.execute()
        token = (await control_plane.lease(execution_id, published["digest"]))["token"]
        statuses = {
            "hello[0].a": "success", "hello[0].b": "success",
            "hello[1].a": "failed", "hello[1].b": "upstream_failed",
            "hello[2].a": "success", "hello[2].b": "failed",
            "hello[3].a": "success",
        }  # fmt: skip
        records = [StepRecord.model_validate({"id": name, "status": status}) for name, status in statuses.items()]
        await control_plane.journal(execution_id, token, *records, running=["hello", "hello[4].a"])
        steps = {step["id"]: step for step in (await control_plane.show(execution_id))["steps"]}
        assert [(item["index"], item["status"]) for item in steps["hello"]["items"]] == [
            (0, "success"), (1, "failed"), (2, "success"), (3, "running"), (4, "running"),
        ]  # fmt: skip
        assert (steps["bye"]["items"], steps["hello[0].a"]["items"]) == (None, None)
        ended = [StepRecord(id="hello", status="failed"), StepRecord(id="hello[3].b", status="cancelled")]
        await control_plane.journal(execution_id, token, *ended)
        steps = {step["id"]: step for step in (await control_plane.show(execution_id))["steps"]}
        assert [item["status"] for item in steps["hello"]["items"][2:]] == ["success", "cancelled"]

    async def test_usage_is_summed_and_an_unknown_price_is_not_zero(self, control_plane: ControlPlane) -> None:
        published = await control_plane.publish()
        execution_id = await control_plane.execute()
        grant = await control_plane.lease(execution_id, published["digest"])
        known = Usage(provider="openai", model="m", input_tokens=10, output_tokens=5, cost_usd=0.5)
        unknown = Usage(provider="openai", model="new", input_tokens=1, output_tokens=1)
        hello = StepRecord(id="hello", status="success", usage=[known, known])
        await control_plane.journal(execution_id, grant["token"], hello)
        shown = await control_plane.show(execution_id)
        assert shown["usage"] == {"model_calls": 2, "input_tokens": 20, "output_tokens": 10, "cost_usd": 1.0}
        await control_plane.journal(
            execution_id, grant["token"], StepRecord(id="bye", status="success", usage=[unknown])
        )
        shown = await control_plane.show(execution_id)
        assert shown["usage"] == {"model_calls": 3, "input_tokens": 21, "output_tokens": 11, "cost_usd": None}
        assert [step["cost_usd"] for step in shown["steps"]] == [1.0, None]

    async def test_version_is_the_one_that_runs(self, control_plane: ControlPlane) -> None:
        await control_plane.publish()
        execution_id = await control_plane.execute()
        newer = await control_plane.publish(workflow(name="Newer"))
        await control_plane.lease(execution_id, newer["digest"])
        assert (await control_plane.show(execution_id))["version"] == 2

    async def test_failed_step(self, control_plane: ControlPlane) -> None:
        published = await control_plane.publish()
        execution_id = await control_plane.execute()
        grant = await control_plane.lease(execution_id, published["digest"])
        error = StepError(code="expression_error", message="gone")
        failed = StepRecord(id="hello", status="failed", error=error, attempts=1)
        await control_plane.journal(execution_id, grant["token"], failed, halt=True)
        left = StepRecord(id="bye", status="upstream_failed").model_dump(mode="json")
        ending = {
            "unit": UNIT,
            "token": grant["token"],
            "status": "failed",
            "error": error.model_dump(),
            "steps": [left],
        }
        await control_plane.call(execution_id, "finish", ending)
        shown = await control_plane.show(execution_id)
        assert (shown["status"], shown["output"], shown["error"]) == ("failed", None, error.model_dump())
        assert [step["status"] for step in shown["steps"]] == ["failed", "upstream_failed"]


class TestWait:
    async def test_answers_when_it_ends(self, control_plane: ControlPlane) -> None:
        published = await control_plane.publish()
        execution_id = await control_plane.execute()
        waiting = asyncio.create_task(control_plane.api.get(f"/api/v1/executions/{execution_id}?wait=25s"))
        grant = await control_plane.lease(execution_id, published["digest"])
        ending = {"unit": UNIT, "token": grant["token"], "status": "success", "output": 1}
        assert not waiting.done()
        await control_plane.call(execution_id, "finish", ending)
        async with asyncio.timeout(20):
            response = await waiting
        assert response.json()["status"] == "success"

    async def test_answers_what_is_when_the_time_is_up(self, control_plane: ControlPlane) -> None:
        await control_plane.publish()
        execution_id = await control_plane.execute()
        response = await control_plane.api.get(f"/api/v1/executions/{execution_id}?wait=50ms")
        assert response.json()["status"] == "pending"

    @pytest.mark.parametrize("wait", ["soon", "-1", "1y", "", "9" * 400])
    async def test_bad_duration(self, control_plane: ControlPlane, wait: str) -> None:
        await control_plane.publish()
        execution_id = await control_plane.execute()
        response = await control_plane.api.get(f"/api/v1/executions/{execution_id}", params={"wait": wait})
        assert response.status_code == 422

    async def test_survives_a_lost_connection(self, control_plane: ControlPlane) -> None:
        published = await control_plane.publish()
        execution_id = await control_plane.execute()
        grant = await control_plane.lease(execution_id, published["digest"])
        waiting = asyncio.create_task(control_plane.api.get(f"/api/v1/executions/{execution_id}?wait=25s"))
        listener = control_plane.app.state.listener
        async with control_plane.database.system() as session:
            await session.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
            )
        ending = {"unit": UNIT, "token": grant["token"], "status": "success"}
        await control_plane.call(execution_id, "finish", ending)
        async with asyncio.timeout(20):
            assert (await waiting).json()["status"] == "success"
            await listener.connected.wait()
