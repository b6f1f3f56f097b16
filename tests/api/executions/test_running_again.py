"""POST /api/v1/executions/{id}/retry and /rerun: what stays of the journal, and what the runners are told then."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from operators.execution.records import StepError, StepRecord, WebhookAnswer
from tests.api.control_plane import UNIT, ControlPlane, lease_request, workflow

pytestmark = pytest.mark.platform

ERROR = StepError(code="c", message="m")


def chain(*names: str, **changes: Any) -> dict[str, Any]:
    """A workflow of transforms, one after the other; all are one unit."""
    tasks = [
        {"id": name, "type": "transform", "config": {"set": {"x": 1}}, "next": [after] if after else []}
        for name, after in zip(names, (*names[1:], None), strict=True)
    ]
    return workflow(tasks=tasks, **changes)


class Life:
    """An execution of ``hello``, ``middle``, ``bye``, run to an end as workers do."""

    def __init__(self, plane: ControlPlane, digest: str, execution_id: str) -> None:
        self.plane = plane
        self.digest = digest
        self.id = execution_id

    @classmethod
    async def begin(cls, plane: ControlPlane, **changes: Any) -> Life:
        digest = (await plane.publish(chain("hello", "middle", "bye", **changes)))["digest"]
        return cls(plane, digest, await plane.execute())

    async def run(self, *records: StepRecord, status: str = "success", clear_number: int = 0) -> dict[str, Any]:
        """Lease, journal and finish; return the grant."""
        grant = await self.plane.lease(self.id, self.digest, clear_number=clear_number)
        await self.plane.journal(self.id, grant["token"], *records, halt=status == "failed")
        finish = {"unit": UNIT, "token": grant["token"], "status": status}
        if status == "failed":
            finish["error"] = ERROR.model_dump()
        assert (await self.plane.call(self.id, "finish", finish)).status_code == 200
        return grant

    async def fail(self) -> dict[str, Any]:
        return await self.run(done("hello"), failed("middle"), cut("bye"), status="failed")

    async def succeed(self, epoch: int = 0, clear_number: int = 0) -> dict[str, Any]:
        records = [done(name, epoch) for name in ("hello", "middle", "bye")]
        return await self.run(*records, clear_number=clear_number)

    async def post(self, what: str) -> Any:
        return await self.plane.api.post(f"/api/v1/executions/{self.id}/{what}")

    async def accepted(self, what: str) -> dict[str, Any]:
        response = await self.post(what)
        assert response.status_code == 202, response.text
        body: dict[str, Any] = response.json()
        return body

    async def show(self) -> dict[str, Any]:
        return await self.plane.show(self.id)

    async def statuses(self) -> list[str]:
        return [step["status"] for step in (await self.show())["steps"]]

    async def rows(self, statement: str) -> list[Any]:
        async with self.plane.database.system() as session:
            result = await session.execute(text(statement))
            return [tuple(row) for row in result] if result.returns_rows else []

    async def orders(self) -> list[str]:
        return [kind for (kind,) in await self.rows("SELECT kind FROM outbox WHERE kind <> 'start' ORDER BY id")]


def done(step_id: str, output: Any = 0) -> StepRecord:
    return StepRecord(id=step_id, status="success", output=output)


def failed(step_id: str) -> StepRecord:
    return StepRecord(id=step_id, status="failed", error=ERROR)


def cut(step_id: str) -> StepRecord:
    return StepRecord(id=step_id, status="upstream_failed")


@pytest.mark.parametrize("what", ["retry", "rerun"])
class TestBoth:
    async def test_anonymous(self, control_plane: ControlPlane, what: str) -> None:
        assert (await control_plane.public.post(f"/api/v1/executions/{uuid4()}/{what}")).status_code == 401

    @pytest.mark.parametrize("execution_id", ["01990000-0000-7000-8000-00000000abcd", "nonsense"])
    async def test_unknown(self, control_plane: ControlPlane, what: str, execution_id: str) -> None:
        response = await control_plane.api.post(f"/api/v1/executions/{execution_id}/{what}")
        assert (response.status_code, response.json()["code"]) == (404, "not_found")

    async def test_another_organisations(self, control_plane: ControlPlane, what: str) -> None:
        life = await Life.begin(control_plane)
        await life.fail()
        statement = "INSERT INTO organizations (slug, name) VALUES ('other', 'o') RETURNING id"
        ((other,),) = await life.rows(statement)
        control_plane.act_for(other)
        assert (await life.post(what)).status_code == 404

    async def test_pending_or_running(self, control_plane: ControlPlane, what: str) -> None:
        life = await Life.begin(control_plane)
        for status in ("pending", "running"):
            response = await life.post(what)
            assert (response.status_code, response.json()["code"]) == (409, "execution_running")
            assert status in response.json()["detail"]
            await control_plane.lease(life.id, life.digest)

    async def test_it_is_pending_until_its_next_lease(self, control_plane: ControlPlane, what: str) -> None:
        life = await Life.begin(control_plane, settings={"concurrency": {"limit": 1}})
        await life.fail()
        before = await life.show()
        body = await life.accepted(what)
        epoch = int(what == "rerun")
        assert (body["execution_id"], body["status"], body["epoch"]) == (life.id, "pending", epoch)
        shown = await life.show()
        ends = [shown[name] for name in ("error", "output", "started_at", "completed_at", "cancel_requested_at")]
        assert (shown["status"], shown["epoch"], ends) == ("pending", epoch, [None] * 5)
        assert (shown["accepted_at"], shown["duration_ms"]) == (before["accepted_at"], None)
        assert await life.orders() == ["restart"]
        assert await life.rows("SELECT relayed_at FROM workflow_executions") == [(None,)], "it waits for its place"
        grant = await control_plane.lease(life.id, life.digest, clear_number=1)
        assert (grant["epoch"], grant["life"], grant["halted"]) == (epoch, 1, False)
        shown = await life.show()
        assert shown["status"] == "running"
        assert grant["since"] == shown["reopened_at"]
        assert shown["reopened_at"] < shown["started_at"]
        assert grant["execution"]["started_at"] == shown["accepted_at"].replace("Z", "+00:00")

    async def test_nobody_of_the_former_life_comes_back(self, control_plane: ControlPlane, what: str) -> None:
        life = await Life.begin(control_plane)
        grant = await life.fail()
        await life.accepted(what)
        refused = await control_plane.call(life.id, "lease", lease_request(life.digest))
        assert (refused.status_code, refused.json()["code"]) == (410, "execution_ended")
        assert refused.json()["execution_status"] == "failed"
        late = {"unit": UNIT, "token": grant["token"], "status": "failed"}
        assert (await control_plane.call(life.id, "finish", late)).json()["code"] == "stale_lease"
        assert (await life.show())["status"] == "pending"

    async def test_cancelled_before_it_runs(self, control_plane: ControlPlane, what: str) -> None:
        life = await Life.begin(control_plane)
        await life.fail()
        await life.accepted(what)
        assert (await life.post("cancel")).json()["status"] == "cancelled"
        assert await life.orders() == []
        assert set(await life.statuses()) <= {"success", "cancelled"}
        refused = await control_plane.call(life.id, "lease", lease_request(life.digest, clear_number=0))
        assert refused.json()["code"] == "execution_ended"

    async def test_a_second_time(self, control_plane: ControlPlane, what: str) -> None:
        life = await Life.begin(control_plane)
        await life.fail()
        await life.accepted(what)
        await life.run(failed("middle"), cut("bye"), status="failed", clear_number=1)
        # The order of the first time is still there: its relay died.
        ((first,),) = await life.rows("SELECT id FROM outbox WHERE kind = 'restart'")
        await life.accepted(what)
        ((second,),) = await life.rows("SELECT id FROM outbox WHERE kind = 'restart'")
        assert second > first
        assert (await control_plane.lease(life.id, life.digest, clear_number=2))["life"] == 2

    async def test_an_input_that_was_refused(self, control_plane: ControlPlane, what: str) -> None:
        life = await Life.begin(control_plane)
        await life.rows(
            "UPDATE workflow_executions SET status = 'failed', completed_at = now(),"
            ' error = \'{"code": "invalid_input", "message": "m"}\''
        )
        response = await life.post(what)
        assert (response.status_code, response.json()["code"]) == (409, "execution_refused")

    async def test_one_that_never_began(self, control_plane: ControlPlane, what: str) -> None:
        life = await Life.begin(control_plane)
        await life.post("cancel")
        assert (await life.show())["status"] == "cancelled"
        await life.accepted(what)
        assert await life.statuses() == ["pending"] * 3


class TestRetry:
    async def test_succeeded(self, control_plane: ControlPlane) -> None:
        life = await Life.begin(control_plane)
        await life.succeed()
        response = await life.post("retry")
        assert (response.status_code, response.json()["code"]) == (409, "execution_succeeded")
        assert f"/api/v1/executions/{life.id}/rerun" in response.json()["detail"]

    async def test_successes_stay(self, control_plane: ControlPlane) -> None:
        life = await Life.begin(control_plane)
        await life.fail()
        await life.accepted("retry")
        assert await life.statuses() == ["success", "pending", "pending"]
        grant = await life.run(done("middle"), done("bye"), clear_number=1)
        assert list(grant["steps"]) == ["hello"]
        shown = await life.show()
        assert (shown["status"], shown["epoch"]) == ("success", 0)

    async def test_the_first_lease_forgets_nothing_more(self, control_plane: ControlPlane) -> None:
        life = await Life.begin(control_plane)
        await life.fail()
        await life.accepted("retry")
        grant = await control_plane.lease(life.id, life.digest, clear_number=1)
        await control_plane.journal(life.id, grant["token"], done("middle"))
        again = await control_plane.lease(life.id, life.digest, clear_number=1)
        assert list(again["steps"]) == ["hello", "middle"]
        assert again["life"] == 1

    async def test_variables_stay_as_they_were(self, control_plane: ControlPlane) -> None:
        assert await self.variable_after(control_plane, "retry") == {"v": 1}

    async def test_variables_are_read_anew(self, control_plane: ControlPlane) -> None:
        assert await self.variable_after(control_plane, "rerun") == {"v": 2}

    async def variable_after(self, plane: ControlPlane, what: str) -> Any:
        task = {"id": "hello", "type": "transform", "config": {"set": {"x": "{{ vars.v }}"}}}
        digest = (await plane.publish(workflow(tasks=[task], vars=["v"])))["digest"]
        life = Life(plane, digest, await plane.execute())
        await life.rows("INSERT INTO variables (organization_id, name, value) SELECT id, 'v', '1' FROM organizations")
        await life.run(failed("hello"), status="failed")
        await life.rows("UPDATE variables SET value = '2'")
        await life.accepted(what)
        return (await plane.lease(life.id, digest, clear_number=1))["vars"]


class TestRerun:
    async def test_from_the_middle(self, control_plane: ControlPlane) -> None:
        life = await Life.begin(control_plane)
        await life.succeed()
        await life.accepted("rerun?from=middle")
        assert await life.statuses() == ["success", "pending", "pending"]
        grant = await control_plane.lease(life.id, life.digest, clear_number=1)
        assert (grant["epoch"], list(grant["steps"])) == (1, ["hello"])
        await control_plane.journal(life.id, grant["token"], done("middle", 1), done("bye", 1))
        settled = await control_plane.call(life.id, "settle", {"unit": UNIT, "token": grant["token"]})
        outputs = {name: record["output"] for name, record in settled.json()["steps"].items()}
        assert outputs == {"hello": 0, "middle": 1, "bye": 1}
        assert [step["output"] for step in (await life.show())["steps"]] == [0, 1, 1]
        history = "SELECT epoch, step_id, output::text FROM execution_steps WHERE NOT current ORDER BY step_id"
        assert await life.rows(history) == [(0, "bye", "0"), (0, "middle", "0")]

    async def test_from_the_start(self, control_plane: ControlPlane) -> None:
        life = await Life.begin(control_plane)
        await life.succeed()
        await life.accepted("rerun")
        assert await life.statuses() == ["pending"] * 3
        assert (await life.succeed(epoch=1, clear_number=1))["steps"] == {}

    async def test_several_epochs(self, control_plane: ControlPlane) -> None:
        """A result may be older than the epoch before; a retry stays in its epoch and leaves history alone."""
        life = await Life.begin(control_plane)
        await life.succeed()
        await life.accepted("rerun?from=middle")
        await life.run(done("middle", 1), done("bye", 1), clear_number=1)
        await life.accepted("rerun?from=bye")
        await life.run(failed("bye"), status="failed", clear_number=2)
        body = await life.accepted("retry")
        assert body["epoch"] == 2
        grant = await life.run(done("bye", 2), clear_number=3)
        assert {name: record["output"] for name, record in grant["steps"].items()} == {"hello": 0, "middle": 1}
        assert [step["output"] for step in (await life.show())["steps"]] == [0, 1, 2]
        history = "SELECT epoch, step_id FROM execution_steps WHERE NOT current ORDER BY step_id, epoch"
        assert await life.rows(history) == [(0, "bye"), (1, "bye"), (0, "middle")]

    async def test_a_clear_in_airflow_afterwards(self, control_plane: ControlPlane) -> None:
        life = await Life.begin(control_plane)
        await life.succeed()
        await life.accepted("rerun?from=bye")
        await life.run(failed("bye"), status="failed", clear_number=1)
        grant = await control_plane.lease(life.id, life.digest, clear_number=2)
        assert (grant["epoch"], grant["life"], list(grant["steps"])) == (1, 2, ["hello", "middle"])

    async def test_from_a_failure(self, control_plane: ControlPlane) -> None:
        life = await Life.begin(control_plane)
        await life.fail()
        await life.accepted("rerun?from=middle")
        grant = await control_plane.lease(life.id, life.digest, clear_number=1)
        assert (grant["epoch"], list(grant["steps"])) == (1, ["hello"])

    async def test_before_which_something_is_undecided(self, control_plane: ControlPlane) -> None:
        life = await Life.begin(control_plane)
        await life.fail()
        await life.accepted("rerun?from=bye")
        assert await life.statuses() == ["success", "pending", "pending"]

    @pytest.mark.parametrize(
        ("name", "rest"),
        [
            ("midle", "got 'midle'. Did you mean 'middle'?"),
            ("hello%5B0%5D.x", "got 'hello[0].x'."),
            ("", "got ''."),
            ("x" * 300, "…."),
        ],
        ids=["close", "inside_of_a_map", "empty", "long"],
    )
    async def test_no_task_of_the_workflow(self, control_plane: ControlPlane, name: str, rest: str) -> None:
        life = await Life.begin(control_plane)
        await life.succeed()
        response = await life.post(f"rerun?from={name}")
        assert (response.status_code, response.json()["code"]) == (422, "unknown_task")
        assert rest in response.json()["detail"]
        assert (await life.show())["status"] == "success"

    async def test_its_own_version_counts(self, control_plane: ControlPlane) -> None:
        life = await Life.begin(control_plane)
        await life.succeed()
        await control_plane.publish(chain("hello", "newer"))
        assert (await life.post("rerun?from=newer")).status_code == 422
        await life.accepted("rerun?from=bye")
        assert (await life.show())["version"] == 1

    async def test_an_approval_is_asked_anew(self, control_plane: ControlPlane) -> None:
        life = await Life.begin(control_plane)
        grant = await control_plane.lease(life.id, life.digest)

        async def ask(epoch: int) -> Any:
            path = f"/runtime/v1/executions/{life.id}/approvals/middle"
            return await control_plane.runtime.put(path, json={"epoch": epoch, "title": "t"})

        first = (await ask(0)).json()["id"]
        body = {"decision": "approve", "by": "ann"}
        await control_plane.api.post(f"/api/v1/approvals/{first}/decision", json=body)
        await control_plane.journal(life.id, grant["token"], done("hello"), done("middle"), done("bye"))
        await control_plane.call(life.id, "finish", {"unit": UNIT, "token": grant["token"], "status": "success"})
        await life.accepted("rerun?from=middle")
        assert (await life.show())["steps"][1]["approval_id"] is None
        await control_plane.lease(life.id, life.digest, clear_number=1)
        assert (await ask(0)).json()["code"] == "stale_lease"
        second = (await ask(1)).json()
        assert (second["decision"], second["id"] == first) == (None, False)
        assert (await control_plane.api.get(f"/api/v1/approvals/{first}")).json()["decision"] == "approve"

    async def test_the_answer_of_what_runs_again_is_forgotten(self, control_plane: ControlPlane) -> None:
        life = await Life.begin(control_plane)
        answer = StepRecord(id="middle", status="success", answer=WebhookAnswer(body="first"))
        await life.run(done("hello"), answer, done("bye"))
        await life.accepted("rerun?from=bye")
        assert await life.rows("SELECT answer->>'body' FROM workflow_executions") == [("first",)]
        await life.run(done("bye"), clear_number=1)
        await life.accepted("rerun?from=middle")
        assert await life.rows("SELECT answer->>'body' FROM workflow_executions") == [(None,)]

    async def test_its_ended_parent_stays_as_it_is(self, control_plane: ControlPlane) -> None:
        parent = await Life.begin(control_plane)
        await control_plane.publish(workflow(id="child", trigger={"type": "workflow", "config": {}}))
        request = {"key": "k", "workflow_id": "child", "input": {"name": "x"}}
        child = (await control_plane.call(parent.id, "children", request)).json()["execution_id"]
        await control_plane.api.post(f"/api/v1/executions/{child}/cancel")
        await parent.succeed()
        before = await parent.show()
        assert (await control_plane.api.post(f"/api/v1/executions/{child}/retry")).status_code == 202
        assert await parent.show() == before
        assert (await control_plane.show(child))["status"] == "pending"
