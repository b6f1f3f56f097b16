"""The job ``reconcile``, against a stand-in for Airflow's REST API: each way in which Airflow leaves an execution."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import ANY
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from api.relay.airflow import AirflowClient
from operators.execution.records import StepError, StepRecord
from tests.api.control_plane import UNIT, ControlPlane, workflow
from tests.stubs.airflow_server import AirflowStub

pytestmark = pytest.mark.platform

DAG_ID = "default__greet"
LIMITED = {"timeout": "30s"}


class Plane:
    """A control plane whose relay never runs, with a stand-in for Airflow."""

    def __init__(self, control_plane: ControlPlane, airflow: AirflowStub) -> None:
        self.control_plane = control_plane
        self.airflow = airflow

    async def rows(self, statement: str, **values: Any) -> list[Any]:
        async with self.control_plane.database.system() as session:
            result = await session.execute(text(statement), values)
            return [tuple(row) for row in result] if result.returns_rows else []

    async def relayed(self, document: dict[str, Any] | None = None, *, state: str = "running") -> str:
        """Return an execution that Airflow was told of a while ago."""
        published = await self.control_plane.publish(document)
        execution_id = await self.control_plane.execute()
        await self.rows("DELETE FROM outbox WHERE execution_id = :id", id=execution_id)
        await self.age(execution_id, 60)
        await self.rows("UPDATE workflow_executions SET relayed_at = accepted_at WHERE id = :id", id=execution_id)
        self.airflow.publish(DAG_ID, published["digest"])
        self.airflow.runs[DAG_ID][execution_id] = {}
        self.airflow.states[execution_id] = state
        return execution_id

    async def age(self, execution_id: str, seconds: int) -> None:
        statement = (
            "UPDATE workflow_executions SET accepted_at = accepted_at - make_interval(secs => :s) WHERE id = :id"
        )
        await self.rows(statement, id=execution_id, s=seconds)

    async def order(self, kind: str) -> None:
        """Have a relay told something of every execution."""
        statement = (
            "INSERT INTO outbox (organization_id, execution_id, agent_id, dag_id, kind)"
            " SELECT organization_id, id, agent_id, 'default__greet', :kind FROM workflow_executions"
        )
        await self.rows(statement, kind=kind)

    async def begun(self, execution_id: str, *records: StepRecord, lost: bool = True, halt: bool = False) -> int:
        """Run the first unit as a worker does that journals and is then lost; return its token."""
        [(digest,)] = await self.rows("SELECT plan_digest FROM workflow_versions ORDER BY number DESC LIMIT 1")
        grant = await self.control_plane.lease(execution_id, digest)
        if records:
            await self.control_plane.journal(execution_id, grant["token"], *records, halt=halt)
        if lost:
            await self.rows("UPDATE leases SET expires_at = now() - interval '1 s'")
        return int(grant["token"])

    async def reconcile(self) -> dict[str, int]:
        response = await self.control_plane.runtime.post("/runtime/v1/upkeep/reconcile")
        assert response.status_code == 200, response.text
        return {name: count for name, count in response.json()["counts"].items() if count}

    async def hear(self, *runs: tuple[str, str]) -> list[Any]:
        body = {"runs": [{"dag_id": dag_id, "run_id": run_id} for dag_id, run_id in runs]}
        response = await self.control_plane.runtime.post("/runtime/v1/runs/ended", json=body)
        assert response.status_code == 200, response.text
        assert response.json()["seconds"] == 5
        return [(run["dag_id"], run["run_id"]) for run in response.json()["again"]]

    async def ended(self, execution_id: str) -> tuple[Any, ...]:
        """Return status, error code and the steps' statuses."""
        shown = await self.control_plane.show(execution_id)
        return shown["status"], (shown["error"] or {}).get("code"), *(step["status"] for step in shown["steps"])

    async def message(self, execution_id: str) -> str:
        return str((await self.control_plane.show(execution_id))["error"]["message"])


@pytest.fixture
def airflow() -> AirflowStub:
    return AirflowStub()


@pytest.fixture
async def plane(control_plane: ControlPlane, airflow: AirflowStub) -> AsyncIterator[Plane]:
    settings = control_plane.app.state.settings.model_copy(update={"airflow_password": SecretStr("secret")})
    client = AirflowClient(settings, transport=httpx.ASGITransport(airflow.app()))
    original, control_plane.app.state.airflow = control_plane.app.state.airflow, client
    yield Plane(control_plane, airflow)
    control_plane.app.state.airflow = original
    await client.close()


def done(step_id: str) -> StepRecord:
    return StepRecord(id=step_id, status="success", output={"text": step_id})


class TestRunsAtWork:
    @pytest.mark.parametrize("state", ["queued", "running"])
    async def test_are_left(self, plane: Plane, state: str) -> None:
        execution_id = await plane.relayed(state=state)
        assert await plane.reconcile() == {"left_alone": 1}
        assert await plane.ended(execution_id) == ("pending", None, "pending", "pending")

    async def test_just_relayed(self, plane: Plane) -> None:
        execution_id = await plane.relayed(state="failed")
        await plane.rows("UPDATE workflow_executions SET relayed_at = now()")
        assert await plane.reconcile() == {}
        assert (await plane.ended(execution_id))[0] == "pending"

    async def test_with_a_live_lease(self, plane: Plane) -> None:
        execution_id = await plane.relayed(state="failed")
        await plane.begun(execution_id, lost=False)
        assert await plane.reconcile() == {}
        assert (await plane.ended(execution_id))[0] == "running"

    async def test_with_an_order_under_way(self, plane: Plane) -> None:
        """The relay may have died between its call and its commit: the order comes back."""
        execution_id = await plane.relayed()
        await plane.order("start")
        del plane.airflow.runs[DAG_ID][execution_id]
        assert await plane.reconcile() == {}
        assert (await plane.ended(execution_id))[0] == "pending"

    async def test_come_on_several_pages(self, plane: Plane) -> None:
        plane.airflow.page_size = 2
        executions = [await plane.relayed() for _ in range(5)]
        assert await plane.reconcile() == {"left_alone": 5}
        assert plane.airflow.pages == 3
        assert {(await plane.ended(each))[0] for each in executions} == {"pending"}


class TestRunsThatEnded:
    @pytest.mark.parametrize("state", ["failed", "success"])
    async def test_before_anything_ran(self, plane: Plane, state: str) -> None:
        execution_id = await plane.relayed(state=state)
        assert await plane.reconcile() == {"left_alone": 1, "ended": 1}
        assert await plane.ended(execution_id) == ("failed", "run_ended_by_airflow", "cancelled", "cancelled")
        assert state in await plane.message(execution_id)

    async def test_keeps_what_is_journaled_and_names_the_failed_tasks(self, plane: Plane) -> None:
        execution_id = await plane.relayed(state="failed")
        await plane.begun(execution_id, done("hello"))
        plane.airflow.tasks[execution_id] = [(UNIT, "failed", 6), ("other", "success", 1)]
        assert await plane.reconcile() == {"left_alone": 1, "ended": 1}
        assert await plane.ended(execution_id) == ("failed", "run_ended_by_airflow", "success", "cancelled")
        assert (await plane.message(execution_id)).endswith(f"failed tasks: {UNIT} (try 6)")

    async def test_a_complete_journal_is_a_success(self, plane: Plane) -> None:
        """The worker was lost between its last result and the end of the execution."""
        execution_id = await plane.relayed(
            workflow(output={"said": "{{ bye.output.text }} {{ input.name }} {{ execution.workflow_id }}"}),
            state="failed",
        )
        await plane.begun(execution_id, done("hello"), done("bye"))
        await plane.reconcile()
        assert await plane.ended(execution_id) == ("success", None, "success", "success")
        assert (await plane.control_plane.show(execution_id))["output"] == {"said": "bye Ann greet"}

    async def test_a_failed_step_fails_it_by_its_own_error(self, plane: Plane) -> None:
        execution_id = await plane.relayed(state="failed")
        error = StepError(code="model_error", message="gone")
        await plane.begun(execution_id, StepRecord(id="hello", status="failed", error=error), halt=True)
        await plane.reconcile()
        assert await plane.ended(execution_id) == ("failed", "model_error", "failed", "upstream_failed")

    async def test_timed_out_by_airflow(self, plane: Plane) -> None:
        execution_id = await plane.relayed(workflow(settings=LIMITED), state="failed")
        await plane.begun(execution_id, done("hello"))
        # Not the round's own look at the clock, but the end of the run.
        assert await plane.hear((DAG_ID, execution_id)) == []
        assert await plane.ended(execution_id) == ("failed", "workflow_timeout", "success", "cancelled")

    async def test_cancel_was_asked_for(self, plane: Plane) -> None:
        execution_id = await plane.relayed(state="failed")
        await plane.begun(execution_id)
        await plane.rows("UPDATE workflow_executions SET cancel_requested_at = now()")
        await plane.reconcile()
        assert await plane.ended(execution_id) == ("cancelled", "cancelled", "cancelled", "cancelled")

    async def test_of_an_adopted_run(self, plane: Plane) -> None:
        digest = (await plane.control_plane.publish())["digest"]
        run_id = "scheduled__2026-11-24T18:00:00+00:00"
        request = {
            "organization": "default", "workflow_id": "greet", "unit": UNIT, "owner": "o", "plan_digest": digest,
            "run": {"scheduled": False, "due_at": "2026-11-24T18:00:00Z"},
        }  # fmt: skip
        await plane.control_plane.publish(workflow(input={"type": "object"}))
        [(digest,)] = await plane.rows("SELECT plan_digest FROM workflow_versions ORDER BY number DESC LIMIT 1")
        adopted = await plane.control_plane.call(run_id, "lease", request | {"plan_digest": digest})
        execution_id = adopted.json()["execution"]["id"]
        await plane.rows("UPDATE leases SET expires_at = now() - interval '1 s'")
        await plane.rows("UPDATE workflow_executions SET relayed_at = now() - interval '1 minute'")
        plane.airflow.publish(DAG_ID, digest)
        plane.airflow.runs[DAG_ID][run_id] = {}
        plane.airflow.states[run_id] = "failed"
        assert await plane.reconcile() == {"left_alone": 1, "ended": 1}
        assert (await plane.ended(execution_id))[:2] == ("failed", "run_ended_by_airflow")

    async def test_its_error_workflow_starts_and_its_children_end(self, plane: Plane) -> None:
        mourner = workflow(id="mourn", trigger={"type": "workflow"})
        del mourner["input"]
        await plane.control_plane.publish(mourner)
        document = workflow(settings={"error_workflow": "mourn"})
        child, parent = await plane.relayed(document), await plane.relayed(document, state="failed")
        await plane.rows("UPDATE workflow_executions SET parent_execution_id = :p WHERE id = :c", p=parent, c=child)
        await plane.reconcile()
        shown = await plane.control_plane.show(parent)
        assert shown["error_workflow"]["execution_id"] is not None
        assert (await plane.ended(child))[0] == "cancelled"

    async def test_its_waiting_parent_hears_of_it(self, plane: Plane) -> None:
        child, parent = await plane.relayed(state="failed"), await plane.relayed()
        await plane.reconcile()
        path = f"/runtime/v1/executions/{parent}/watch"
        news = await plane.control_plane.runtime.get(path, params={"awaited": child, "wait": "0s"})
        assert news.json() == {"halted": False, "done": True, "now": ANY}

    async def test_that_came_back_to_life_meanwhile(self, plane: Plane) -> None:
        execution_id = await plane.relayed(state="failed")

        async def take_over() -> None:
            await plane.begun(execution_id, lost=False)

        plane.airflow.on_read = take_over
        assert await plane.reconcile() == {"left_alone": 1}
        assert (await plane.ended(execution_id))[0] == "running"

    async def test_twice_at_once(self, plane: Plane) -> None:
        executions = [await plane.relayed(state="failed") for _ in range(6)]
        counts = await asyncio.gather(plane.reconcile(), plane.reconcile())
        assert sum(count.get("ended", 0) for count in counts) == 6
        assert {(await plane.ended(each))[1] for each in executions} == {"run_ended_by_airflow"}


class TestRunsThatAreGone:
    async def test_deleted(self, plane: Plane) -> None:
        execution_id = await plane.relayed()
        await plane.begun(execution_id, done("hello"))
        del plane.airflow.runs[DAG_ID][execution_id]
        await plane.reconcile()
        assert await plane.ended(execution_id) == ("failed", "run_deleted", "success", "cancelled")

    async def test_deleted_with_their_dag(self, plane: Plane) -> None:
        execution_id = await plane.relayed()
        del plane.airflow.runs[DAG_ID], plane.airflow.tags[DAG_ID]
        await plane.reconcile()
        assert (await plane.ended(execution_id))[:2] == ("failed", "dag_missing")

    @pytest.mark.parametrize(("life", "kind"), [(0, "start"), (1, "restart")])
    async def test_never_ordered(self, plane: Plane, life: int, kind: str) -> None:
        await plane.control_plane.publish()
        execution_id = await plane.control_plane.execute()
        await plane.rows("DELETE FROM outbox")
        await plane.rows("UPDATE workflow_executions SET life = :life, concurrency_key = 'mine'", life=life)
        assert await plane.reconcile() == {}
        await plane.age(execution_id, 60)
        assert await plane.reconcile() == {"ordered_again": 1}
        ordered = await plane.rows("SELECT kind, execution_id::text, concurrency_key FROM outbox")
        assert ordered == [(kind, execution_id, "mine")]
        assert await plane.reconcile() == {}


class TestLostDags:
    async def test_file_is_gone(self, plane: Plane) -> None:
        execution_id = await plane.relayed()
        plane.airflow.stale = {DAG_ID}
        assert await plane.reconcile() == {"left_alone": 1}
        plane.airflow.ages[execution_id] = 40
        assert await plane.reconcile() == {"left_alone": 1, "ended": 1}
        assert (await plane.ended(execution_id))[:2] == ("failed", "dag_missing")

    async def test_file_cannot_be_loaded(self, plane: Plane) -> None:
        execution_id = await plane.relayed(state="queued")
        plane.airflow.stale = {DAG_ID}
        plane.airflow.ages[execution_id] = 40
        trace = "Traceback (most recent call last):\n  File /secret/path.py\nImportError: " + "x" * 500
        plane.airflow.import_errors = {f"other{DAG_ID}.py": "NameError: y", f"{DAG_ID}.py": trace}
        await plane.reconcile()
        assert (await plane.ended(execution_id))[:2] == ("failed", "dag_import_error")
        message = await plane.message(execution_id)
        assert message.startswith(f"Airflow cannot load the DAG '{DAG_ID}': ImportError: xxx")
        assert len(message) < 400
        assert "secret" not in message

    @pytest.mark.parametrize("state", ["deferred", "running", "queued"])
    async def test_a_task_at_work_is_let_finish(self, plane: Plane, state: str) -> None:
        execution_id = await plane.relayed()
        plane.airflow.stale = {DAG_ID}
        plane.airflow.ages[execution_id] = 40
        plane.airflow.tasks[execution_id] = [(UNIT, state, 1)]
        assert await plane.reconcile() == {"left_alone": 1}

    async def test_a_busy_airflow_is_no_lost_dag(self, plane: Plane) -> None:
        execution_id = await plane.relayed()
        plane.airflow.ages[execution_id] = 400
        assert await plane.reconcile() == {"left_alone": 1}


class TestWorkflowTimeout:
    @pytest.mark.parametrize("state", ["queued", "running"])
    async def test_passed_while_airflow_does_nothing(self, plane: Plane, state: str) -> None:
        execution_id = await plane.relayed(workflow(settings=LIMITED), state=state)
        assert await plane.reconcile() == {"left_alone": 1, "ended": 1}
        assert await plane.ended(execution_id) == ("failed", "workflow_timeout", "cancelled", "cancelled")
        assert "longer than 30 s" in await plane.message(execution_id)

    async def test_passed_while_it_waits_for_its_turn(self, plane: Plane) -> None:
        await plane.control_plane.publish(workflow(settings=LIMITED))
        execution_id = await plane.control_plane.execute()
        assert await plane.reconcile() == {}
        await plane.age(execution_id, 60)
        assert await plane.reconcile() == {"ended": 1}
        assert (await plane.ended(execution_id))[:2] == ("failed", "workflow_timeout")
        assert await plane.rows("SELECT * FROM outbox") == []

    async def test_is_left_to_a_runner_that_lives(self, plane: Plane) -> None:
        execution_id = await plane.relayed(workflow(settings=LIMITED))
        await plane.begun(execution_id, lost=False)
        assert await plane.reconcile() == {}

    @pytest.mark.parametrize("kind", ["stop", "restart"])
    async def test_is_left_to_a_relay_that_stops_or_restarts_it(self, plane: Plane, kind: str) -> None:
        await plane.relayed(workflow(settings=LIMITED))
        await plane.order(kind)
        assert await plane.reconcile() == {}

    async def test_has_not_passed(self, plane: Plane) -> None:
        await plane.relayed(workflow(settings={"timeout": "10m"}))
        assert await plane.reconcile() == {"left_alone": 1}


class TestRunsThatOutliveTheirExecution:
    async def outlived(self, plane: Plane, *, ended_for: int = 120, queued_for: float = 180) -> str:
        execution_id = await plane.relayed()
        token = await plane.begun(execution_id, done("hello"), done("bye"), lost=False)
        finish = {"unit": UNIT, "token": token, "status": "success"}
        await plane.control_plane.call(execution_id, "settle", {"unit": UNIT, "token": token})
        await plane.control_plane.call(execution_id, "finish", finish)
        statement = "UPDATE workflow_executions SET completed_at = completed_at - make_interval(secs => :s)"
        await plane.rows(statement, s=ended_for)
        plane.airflow.ages[execution_id] = queued_for
        return execution_id

    async def test_are_stopped_as_it_ended(self, plane: Plane) -> None:
        execution_id = await self.outlived(plane)
        assert await plane.reconcile() == {"runs_stopped": 1}
        assert plane.airflow.states[execution_id] == "success"
        assert await plane.reconcile() == {}

    async def test_of_a_cancelled_one_fail(self, plane: Plane) -> None:
        execution_id = await self.outlived(plane)
        await plane.rows("UPDATE workflow_executions SET status = 'cancelled'")
        await plane.reconcile()
        assert plane.airflow.states[execution_id] == "failed"

    async def test_have_a_minute_to_hear_of_it(self, plane: Plane) -> None:
        await self.outlived(plane, ended_for=30)
        assert await plane.reconcile() == {}

    async def test_cleared_ones_go_on(self, plane: Plane) -> None:
        await self.outlived(plane, queued_for=70)
        assert await plane.reconcile() == {}

    async def test_of_others_stay(self, plane: Plane) -> None:
        plane.airflow.runs["somebodys_dag"] = {"manual__1": {}, str(uuid4()): {}}
        assert await plane.reconcile() == {}
        assert plane.airflow.states == {}


class TestAirflowIsAway:
    async def test_nothing_ends(self, plane: Plane) -> None:
        execution_id = await plane.relayed(state="failed")
        plane.airflow.expire_token()
        plane.airflow.password = "another"
        assert await plane.reconcile() == {"left_alone": 1, "airflow_away": 1}
        assert (await plane.ended(execution_id))[0] == "pending"

    async def test_a_proxys_404_is_not_airflows(self, plane: Plane) -> None:
        execution_id = await plane.relayed()
        plane.airflow.expire_token()
        plane.airflow.html = True
        counts = await plane.reconcile()
        assert counts == {"left_alone": 1, "airflow_away": 1}
        assert (await plane.ended(execution_id))[0] == "pending"


class TestHear:
    async def test_anonymous(self, control_plane: ControlPlane) -> None:
        for client in (control_plane.public, control_plane.api):
            assert (await client.post("/runtime/v1/runs/ended", json={"runs": []})).status_code == 401

    async def test_ends_the_execution(self, plane: Plane) -> None:
        execution_id = await plane.relayed(state="failed")
        assert await plane.hear((DAG_ID, execution_id)) == []
        assert (await plane.ended(execution_id))[:2] == ("failed", "run_ended_by_airflow")

    async def test_is_not_believed(self, plane: Plane) -> None:
        execution_id = await plane.relayed()
        assert await plane.hear((DAG_ID, execution_id)) == [(DAG_ID, execution_id)]
        assert (await plane.ended(execution_id))[0] == "pending"

    async def test_a_runner_may_still_be_at_work(self, plane: Plane) -> None:
        execution_id = await plane.relayed(state="failed")
        await plane.begun(execution_id, lost=False)
        assert await plane.hear((DAG_ID, execution_id)) == [(DAG_ID, execution_id)]
        assert (await plane.ended(execution_id))[0] == "running"

    async def test_ended_and_unknown_ones(self, plane: Plane) -> None:
        execution_id = await plane.relayed(state="failed")
        await plane.hear((DAG_ID, execution_id))
        before = await plane.control_plane.show(execution_id)
        runs = [(DAG_ID, execution_id), (DAG_ID, str(uuid4())), ("default__other", execution_id), ("x", "manual__1")]
        assert await plane.hear(*runs) == []
        assert await plane.control_plane.show(execution_id) == before

    @pytest.mark.parametrize("run", [{"dag_id": "", "run_id": "x"}, {"dag_id": "x" * 251, "run_id": "x"}, {}])
    async def test_bad_bodies(self, plane: Plane, run: dict[str, str]) -> None:
        response = await plane.control_plane.runtime.post("/runtime/v1/runs/ended", json={"runs": [run]})
        assert response.status_code == 422
