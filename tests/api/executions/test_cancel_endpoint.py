"""POST /api/v1/executions/{id}/cancel, and what follows from an end."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import uuid4

import pytest
from sqlalchemy import text

from operators.execution.records import StepError, StepRecord
from tests.api.control_plane import UNIT, ControlPlane, workflow

pytestmark = pytest.mark.platform


async def cancel(plane: ControlPlane, execution_id: Any) -> Any:
    return await plane.api.post(f"/api/v1/executions/{execution_id}/cancel")


async def rows(plane: ControlPlane, statement: str, **values: Any) -> list[Any]:
    async with plane.database.system() as session:
        result = await session.execute(text(statement), values)
        return [tuple(row) for row in result] if result.returns_rows else []


async def orders(plane: ControlPlane) -> list[Any]:
    """Return what Airflow has still to hear."""
    return await rows(plane, "SELECT kind, execution_id::text FROM outbox ORDER BY id")


async def give_back_leases(plane: ControlPlane) -> None:
    await rows(plane, "UPDATE leases SET expires_at = now() - interval '1 s'")


class TestCancelExecution:
    async def test_anonymous(self, control_plane: ControlPlane) -> None:
        assert (await control_plane.public.post(f"/api/v1/executions/{uuid4()}/cancel")).status_code == 401

    @pytest.mark.parametrize("execution_id", [uuid4(), "nonsense"])
    async def test_unknown(self, control_plane: ControlPlane, execution_id: Any) -> None:
        response = await cancel(control_plane, execution_id)
        assert (response.status_code, response.json()["code"]) == (404, "not_found")

    async def test_another_organisations(self, control_plane: ControlPlane) -> None:
        await control_plane.publish()
        execution_id = await control_plane.execute()
        async with control_plane.database.system() as session:
            other = await session.scalar(
                text("INSERT INTO organizations (slug, name) VALUES ('other', 'o') RETURNING id")
            )
        control_plane.act_for(other)
        assert (await cancel(control_plane, execution_id)).status_code == 404

    async def test_pending(self, control_plane: ControlPlane) -> None:
        digest = (await control_plane.publish())["digest"]
        execution_id = await control_plane.execute()
        response = await cancel(control_plane, execution_id)
        assert (response.status_code, response.json()) == (200, {"execution_id": execution_id, "status": "cancelled"})
        shown = await control_plane.show(execution_id)
        assert (shown["status"], shown["error"]["code"], shown["output"]) == ("cancelled", "cancelled", None)
        assert [step["status"] for step in shown["steps"]] == ["cancelled", "cancelled"]
        # Airflow never heard of it.
        assert await orders(control_plane) == []
        refused = await control_plane.call(
            execution_id,
            "lease",
            {"organization": "default", "workflow_id": "greet", "unit": UNIT, "owner": "o", "plan_digest": digest},
        )
        assert (refused.status_code, refused.json()["code"]) == (410, "execution_ended")
        assert refused.json()["execution_status"] == "cancelled"

    async def test_pending_that_airflow_may_have_heard_of(self, control_plane: ControlPlane) -> None:
        await control_plane.publish()
        execution_id = await control_plane.execute()
        await rows(control_plane, "UPDATE outbox SET attempts = 1")
        await cancel(control_plane, execution_id)
        assert await orders(control_plane) == [("stop", execution_id)]

    async def test_twice(self, control_plane: ControlPlane) -> None:
        await control_plane.publish()
        execution_id = await control_plane.execute()
        first = await cancel(control_plane, execution_id)
        shown = await control_plane.show(execution_id)
        assert (await cancel(control_plane, execution_id)).json() == first.json()
        assert await control_plane.show(execution_id) == shown

    async def test_running(self, control_plane: ControlPlane) -> None:
        digest = (await control_plane.publish())["digest"]
        execution_id = await control_plane.execute()
        grant = await control_plane.lease(execution_id, digest)
        response = await cancel(control_plane, execution_id)
        assert (response.status_code, response.json()["status"]) == (202, "running")
        assert (await control_plane.show(execution_id))["cancel_requested_at"] is not None
        heard = await control_plane.call(execution_id, "heartbeat", {"unit": UNIT, "token": grant["token"]})
        assert (heard.json()["halted"], heard.json()["cancelled"]) == (True, True)
        state = await control_plane.journal(
            execution_id, grant["token"], StepRecord(id="hello", status="cancelled"), halt=True
        )
        assert state["cancelled"]
        await control_plane.call(execution_id, "settle", {"unit": UNIT, "token": grant["token"]})
        finish = {
            "unit": UNIT, "token": grant["token"], "status": "cancelled",
            "error": {"code": "cancelled", "message": "m"}, "steps": [{"id": "bye", "status": "cancelled"}],
        }  # fmt: skip
        await control_plane.call(execution_id, "finish", finish)
        shown = await control_plane.show(execution_id)
        assert shown["status"] == "cancelled"
        due = "SELECT kind FROM outbox WHERE available_at <= clock_timestamp() AND kind = 'stop'"
        assert await rows(control_plane, due) == [("stop",)]

    async def test_running_without_a_runner(self, control_plane: ControlPlane) -> None:
        digest = (await control_plane.publish())["digest"]
        execution_id = await control_plane.execute()
        grant = await control_plane.lease(execution_id, digest)
        await control_plane.journal(execution_id, grant["token"], StepRecord(id="hello", status="success", output=1))
        await give_back_leases(control_plane)
        assert (await cancel(control_plane, execution_id)).json()["status"] == "cancelled"
        shown = await control_plane.show(execution_id)
        assert [step["status"] for step in shown["steps"]] == ["success", "cancelled"]
        late = await control_plane.call(execution_id, "heartbeat", {"unit": UNIT, "token": grant["token"]})
        assert late.json()["code"] == "stale_lease"

    async def test_ended(self, control_plane: ControlPlane) -> None:
        execution_id = await failed(control_plane)
        response = await cancel(control_plane, execution_id)
        assert (response.status_code, response.json()["status"]) == (200, "failed")
        assert (await control_plane.show(execution_id))["cancel_requested_at"] is None

    async def test_children_go_along(self, control_plane: ControlPlane) -> None:
        await control_plane.publish()
        parent, child, grandchild, other = [await control_plane.execute() for _ in range(4)]
        await adopt(control_plane, child, parent)
        await adopt(control_plane, grandchild, child)
        await cancel(control_plane, parent)
        statuses = [(await control_plane.show(each))["status"] for each in (parent, child, grandchild, other)]
        assert statuses == ["cancelled", "cancelled", "cancelled", "pending"]

    async def test_children_end_with_a_parent_that_fails(self, control_plane: ControlPlane) -> None:
        await control_plane.publish()
        child, ended = await control_plane.execute(), await control_plane.execute()
        await cancel(control_plane, ended)
        before = await control_plane.show(ended)
        parent = await control_plane.execute()
        for each in (child, ended):
            await adopt(control_plane, each, parent)
        await failed(control_plane, parent)
        assert (await control_plane.show(child))["status"] == "cancelled"
        assert (await control_plane.show(ended))["completed_at"] == before["completed_at"]


async def adopt(plane: ControlPlane, child: str, parent: str) -> None:
    statement = "UPDATE workflow_executions SET parent_execution_id = :parent WHERE id = :child RETURNING id"
    assert await rows(plane, statement, parent=parent, child=child)


async def failed(plane: ControlPlane, execution_id: str | None = None, **changes: Any) -> str:
    """Fail an execution's first step as a runner does; return its id."""
    digest = (await plane.publish(workflow(**changes)))["digest"]
    execution_id = execution_id or await plane.execute()
    grant = await plane.lease(execution_id, digest)
    error = StepError(code="model_error", message="gone")
    await plane.journal(execution_id, grant["token"], StepRecord(id="hello", status="failed", error=error), halt=True)
    finish = {
        "unit": UNIT, "token": grant["token"], "status": "failed",
        "error": {"code": "model_error", "message": "step 'hello' failed: gone"},
        "steps": [{"id": "bye", "status": "upstream_failed"}],
    }  # fmt: skip
    response = await plane.call(execution_id, "finish", finish)
    assert response.status_code == 200, response.text
    return execution_id


class TestErrorWorkflow:
    MOURN: ClassVar[dict[str, str]] = {"error_workflow": "mourn"}

    @staticmethod
    def mourner(**changes: Any) -> dict[str, Any]:
        document = workflow(id="mourn", trigger={"type": "workflow"}) | changes
        return {key: value for key, value in document.items() if key != "input" or "input" in changes}

    async def test_it_starts_with_what_failed(self, control_plane: ControlPlane) -> None:
        await control_plane.publish(self.mourner())
        execution_id = await failed(control_plane, settings=self.MOURN)
        handling = (await control_plane.show(execution_id))["error_workflow"]
        assert handling["problem"] is None
        mourning = await control_plane.show(handling["execution_id"])
        assert mourning["workflow_id"] == "mourn"
        assert mourning["input"] == {
            "execution_id": execution_id,
            "workflow_id": "greet",
            "version": 1,
            "error": {"code": "model_error", "message": "step 'hello' failed: gone"},
            "failed_steps": [{"id": "hello", "error": {"code": "model_error", "message": "gone"}}],
            "input": {"name": "Ann"},
        }
        assert mourning["trigger"]["type"] == "workflow"
        assert (mourning["error_of"], mourning["depth"]) == (execution_id, 1)
        assert ("start", handling["execution_id"]) in await orders(control_plane)

    async def test_unpublished(self, control_plane: ControlPlane) -> None:
        execution_id = await failed(control_plane, settings=self.MOURN)
        shown = await control_plane.show(execution_id)
        assert shown["status"] == "failed"
        assert shown["error_workflow"]["execution_id"] is None
        assert shown["error_workflow"]["problem"]["code"] == "not_found"

    async def test_input_schema_that_refuses(self, control_plane: ControlPlane) -> None:
        await control_plane.publish(self.mourner(input={"type": "object", "required": ["black"]}))
        shown = await control_plane.show(await failed(control_plane, settings=self.MOURN))
        assert shown["error_workflow"]["problem"]["code"] == "invalid_input"

    async def test_one_that_fails_itself_starts_none(self, control_plane: ControlPlane) -> None:
        execution_id = await failed(control_plane, settings={"error_workflow": "greet"}, input={"type": "object"})
        handling = (await control_plane.show(execution_id))["error_workflow"]
        await failed(
            control_plane, handling["execution_id"], settings={"error_workflow": "greet"}, input={"type": "object"}
        )
        assert (await control_plane.show(handling["execution_id"]))["error_workflow"] is None
        assert await rows(control_plane, "SELECT count(*) FROM workflow_executions") == [(2,)]

    async def test_too_deep(self, control_plane: ControlPlane) -> None:
        await control_plane.publish(self.mourner())
        await control_plane.publish(workflow(settings=self.MOURN))
        execution_id = await control_plane.execute()
        await rows(control_plane, "UPDATE workflow_executions SET depth = 16")
        await failed(control_plane, execution_id, settings=self.MOURN)
        shown = await control_plane.show(execution_id)
        assert shown["error_workflow"]["problem"]["code"] == "depth_exceeded"

    async def test_a_cancelled_execution_is_no_failure(self, control_plane: ControlPlane) -> None:
        await control_plane.publish(self.mourner())
        await control_plane.publish(workflow(settings=self.MOURN))
        execution_id = await control_plane.execute()
        await cancel(control_plane, execution_id)
        assert (await control_plane.show(execution_id))["error_workflow"] is None
