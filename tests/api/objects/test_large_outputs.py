"""Outputs above 1 MB through the whole control plane: real runners over HTTP, PostgreSQL, and both kinds of places."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import orjson
import pytest
from sqlalchemy import text

from api.executions.acceptance import Acceptance
from api.executions.repository import ExecutionRepository
from api.objects.settings import ObjectSettings
from api.objects.upkeep import remove_every_object, remove_orphans
from api.organizations.repository import OrganizationRepository
from api.settings import Settings
from api.upkeep.tools import Tools
from compiler import compile_workflow
from compiler.plan import Plan, plan_digest
from operators.execution.http import HttpStore
from operators.execution.local import run_plan
from operators.execution.outputs import stored_output
from operators.execution.records import StepError
from operators.execution.runner import run_unit, store_services
from operators.execution.stubs import Stubs
from operators.settings import RuntimeSettings
from tests.api.control_plane import ControlPlane, webhook
from tests.api.runtime.test_corpus_over_http import run_all_units

pytestmark = pytest.mark.platform

LARGE = ["x" * 500_000] * 3


def large(**changes: Any) -> dict[str, Any]:
    """A workflow that makes something large, and reads it in a task of its own."""
    return {
        "id": "large",
        "name": "Large",
        "version": "1.0",
        "trigger": webhook("/webhook/large", response={"mode": "sync"}),
        "settings": {"fusion": "off"},
        "tasks": [
            {"id": "make", "type": "transform", "config": {"set": {"all": "{{ input }}"}}, "next": ["read", "rest"]},
            {"id": "read", "type": "transform", "config": {"set": {"count": "{{ make.output.all | length }}"}}},
            {"id": "rest", "type": "transform", "config": {"set": {"count": 1}}},
        ],
        "output": {"count": "{{ read.output.count }}", "again": "{{ make.output.all }}"},
    } | changes


def code(task_id: str, source: str, value: str, **fields: Any) -> dict[str, Any]:
    """A task of Python."""
    config = {"language": "python", "input": {"v": value}}
    return {"id": task_id, "type": "code", "code": source, "config": config, **fields}


def plan_of(document: dict[str, Any]) -> Plan:
    plan = compile_workflow(orjson.dumps(document), organization="default").plan
    assert plan is not None
    return plan


@pytest.fixture
def settings(settings: Settings, place: ObjectSettings) -> Settings:
    return settings.model_copy(update={name: value for name, value in place if name.startswith("object_")})


def runtime(url: str) -> RuntimeSettings:
    return RuntimeSettings(url, "runtime-token")


@pytest.fixture
async def store(served_url: str) -> AsyncIterator[HttpStore]:
    async with HttpStore(runtime(served_url)) as store:
        yield store


async def start(plane: ControlPlane, document: dict[str, Any], value: Any = LARGE) -> str:
    await plane.publish(document)
    body = {"workflow_id": document["id"], "input": value}
    return str((await plane.api.post("/api/v1/workflows/execute", json=body)).json()["execution_id"])


async def run(plane: ControlPlane, store: HttpStore, document: dict[str, Any], value: Any = LARGE) -> dict[str, Any]:
    """Publish, accept and run a workflow; return the execution."""
    execution_id = await start(plane, document, value)
    await run_all_units(plan_of(document), store, execution_id, Stubs(None))
    return await plane.show(execution_id)


async def rows(plane: ControlPlane, statement: str) -> list[Any]:
    async with plane.database.system() as session:
        return list((await session.execute(text(statement))).all())


def tools_of(plane: ControlPlane) -> Tools:
    state = plane.app.state
    return Tools(state.settings, state.database, state.airflow, state.plans)


class TestAnExecution:
    async def test_is_as_in_one_process(self, control_plane: ControlPlane, store: HttpStore) -> None:
        shown = await run(control_plane, store, large())
        local = await run_plan(plan_of(large()), input=LARGE)
        assert (shown["status"], shown["output"], local.status) == ("success", None, "success")
        answer = await control_plane.api.get(shown["output_ref"]["url"])
        assert answer.json() == local.output == {"count": 3, "again": LARGE}
        steps = {step["id"]: step for step in shown["steps"]}
        assert steps["read"]["output"] == {"count": 3}
        reference = steps["make"]["output_ref"]
        answer = await control_plane.api.get(reference["url"])
        assert answer.json() == {"all": LARGE}
        assert (len(answer.content), stored_output(answer.content).sha256) == (reference["size"], reference["sha256"])
        assert answer.headers["content-type"] == "application/json"

    async def test_of_code_in_processes(self, control_plane: ControlPlane, store: HttpStore) -> None:
        document = large(output={"read": "{{ read.output }}", "again": "{{ make.output }}"})
        document["tasks"] = [
            code("make", "def main(input):\n    return ['x' * 1000] * input['v']\n", "{{ input }}", next=["read"]),
            code("read", "def main(input):\n    return len(input['v'])\n", "{{ make.output }}"),
        ]
        shown = await run(control_plane, store, document, 4_000)
        local = await run_plan(plan_of(document), input=4_000)
        answer = await control_plane.api.get(shown["output_ref"]["url"])
        assert answer.json() == local.output == {"read": 4_000, "again": ["x" * 1000] * 4_000}

    async def test_leaves_only_references_in_the_tables(self, control_plane: ControlPlane, store: HttpStore) -> None:
        await run(control_plane, store, large())
        for table in ("execution_steps", "workflow_executions"):
            found = await rows(control_plane, f"SELECT output FROM {table} WHERE output_ref IS NOT NULL")
            assert [tuple(row) for row in found] == [(None,)]
            assert await rows(control_plane, f"SELECT 1 FROM {table} WHERE length(output::text) > 100") == []
        kept = await rows(control_plane, "SELECT organization_id, execution_id, location FROM stored_outputs")
        assert len(kept) == 2
        assert all(f"{row[0]}/outputs/{row[1]}/" in row[2] for row in kept)

    async def test_what_reads_it_is_left_out_of_what_a_step_was_given(
        self, control_plane: ControlPlane, store: HttpStore
    ) -> None:
        shown = await run(control_plane, store, large())
        path = f"/api/v1/executions/{shown['execution_id']}?include=step_inputs"
        given = {step["id"]: step["input"] for step in (await control_plane.api.get(path)).json()["steps"]}
        assert given["read"] == {"derived": True, "config": {}, "left_out": ["set"]}
        assert given["rest"]["config"] == {"set": {"count": 1}}

    async def test_small_outputs_can_be_had_alone_too(self, control_plane: ControlPlane, store: HttpStore) -> None:
        shown = await run(control_plane, store, large(), [1])
        url = f"/api/v1/executions/{shown['execution_id']}"
        assert (await control_plane.api.get(f"{url}/output")).json() == shown["output"] == {"count": 1, "again": [1]}
        assert (await control_plane.api.get(f"{url}/steps/make/output")).json() == {"all": [1]}
        assert (await control_plane.api.get(f"{url}/steps/none/output")).status_code == 404
        assert shown["output_ref"] is None

    async def test_compared(self, control_plane: ControlPlane, store: HttpStore) -> None:
        first = await run(control_plane, store, large())
        same, other = await run(control_plane, store, large()), await run(control_plane, store, large(), [*LARGE, 1])
        for execution, expected in ((same, True), (other, False)):
            path = f"/api/v1/executions/{first['execution_id']}/compare/{execution['execution_id']}"
            assert (await control_plane.api.get(path)).json()["output"]["same"] is expected

    async def test_as_the_output_of_a_child(
        self, control_plane: ControlPlane, store: HttpStore, served_url: str
    ) -> None:
        child = large()
        child["tasks"][0]["config"]["set"]["all"] = "{{ input.items }}"
        call = {"workflow": "large", "input": {"items": "{{ input }}"}}
        parent = {
            "id": "parent",
            "name": "Parent",
            "version": "1",
            "trigger": {"type": "manual"},
            "tasks": [{"id": "call", "type": "workflow", "config": call}],
            "output": "{{ call.output.again }}",
        }
        await control_plane.publish(child)
        execution_id = await start(control_plane, parent)
        task = asyncio.create_task(run_all_units(plan_of(parent), store, execution_id, Stubs(None)))
        while not (found := await rows(control_plane, "SELECT id FROM workflow_executions WHERE depth = 1")):
            await asyncio.sleep(0.01)
        async with HttpStore(runtime(served_url)) as own:
            await run_all_units(plan_of(child), own, str(found[0][0]), Stubs(None))
        await asyncio.wait_for(task, 30)
        shown = await control_plane.show(execution_id)
        assert shown["status"] == "success"
        assert (await control_plane.api.get(shown["output_ref"]["url"])).json() == LARGE


class TestWhatIsLost:
    async def test_fails_who_reads_it_and_nobody_else(self, control_plane: ControlPlane, store: HttpStore) -> None:
        document = large(output={"count": "{{ rest.output.count }}"})
        for task in document["tasks"][1:]:
            task["on_error"] = "continue"
        execution_id = await start(control_plane, document)
        plan = plan_of(document)
        digest = plan_digest(plan.to_bytes())
        services = store_services(store, execution_id)
        outcome = await run_unit(
            plan, "make", store, services, execution_id=execution_id, owner="one", plan_digest=digest
        )
        assert outcome.kind == "done"
        await remove_files(control_plane)
        await run_all_units(plan, store, execution_id, Stubs(None))
        shown = await control_plane.show(execution_id)
        steps = {step["id"]: step for step in shown["steps"]}
        assert steps["read"]["error"]["code"] == "output_lost"
        assert (steps["rest"]["status"], shown["output"]) == ("success", {"count": 1})
        answer = await control_plane.api.get(steps["make"]["output_ref"]["url"])
        assert (answer.status_code, answer.json()["code"]) == (410, "output_lost")

    async def test_does_not_hinder_other_executions(self, control_plane: ControlPlane, store: HttpStore) -> None:
        await run(control_plane, store, large())
        await remove_files(control_plane)
        assert (await run(control_plane, store, large(), [*LARGE, 1]))["status"] == "success"


async def remove_files(plane: ControlPlane) -> None:
    """Lose every object, as nobody should."""
    await plane.database.objects.delete_all(plane.organization_id)


class TestBounds:
    async def test_of_one_output(self, control_plane: ControlPlane, store: HttpStore) -> None:
        control_plane.app.state.settings.result_max_bytes = 1_200_000
        shown = await run(control_plane, store, large())
        assert shown["steps"][0]["error"]["code"] == "output_too_large"
        assert "AGENT_FACTORY_RESULT_MAX_BYTES" in shown["steps"][0]["error"]["message"]

    async def test_of_an_execution(self, control_plane: ControlPlane, store: HttpStore) -> None:
        control_plane.app.state.settings.execution_outputs_max_bytes = 2_000_000
        shown = await run(control_plane, store, large())
        # Its steps have room; its own output, which is another, has not.
        assert [step["status"] for step in shown["steps"]] == ["success"] * 3
        assert (shown["status"], shown["error"]["code"]) == ("failed", "output_too_large")

    async def test_a_body_that_is_not_what_it_says(self, control_plane: ControlPlane) -> None:
        execution_id = await start(control_plane, large())
        path = f"/runtime/v1/executions/{execution_id}/outputs"
        answer = await control_plane.runtime.put(f"{path}/{'a' * 64}", content=b"something")
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
        for digest in ("a", "A" * 64, "..%2f..", "a" * 65):
            assert (await control_plane.runtime.put(f"{path}/{digest}", content=b"x")).status_code in (404, 422)
        assert (await control_plane.api.put(f"{path}/{'a' * 64}", content=b"x")).status_code == 401
        assert await rows(control_plane, "SELECT 1 FROM stored_outputs") == []

    async def test_of_an_ended_execution(self, control_plane: ControlPlane) -> None:
        execution_id = await start(control_plane, large())
        await control_plane.api.post(f"/api/v1/executions/{execution_id}/cancel")
        path = f"/runtime/v1/executions/{execution_id}/outputs/{stored_output(b'x').sha256}"
        assert (await control_plane.runtime.put(path, content=b"x")).status_code == 409


class TestOtherOrganizations:
    async def test_do_not_get_it(self, control_plane: ControlPlane, store: HttpStore) -> None:
        shown = await run(control_plane, store, large())
        digest = shown["steps"][0]["output_ref"]["sha256"]
        async with control_plane.database.system() as session:
            other = await OrganizationRepository(session).ensure("other")
        control_plane.act_for(other)
        for url in (shown["output_ref"]["url"], shown["steps"][0]["output_ref"]["url"]):
            assert (await control_plane.api.get(url)).status_code == 404
        # A worker that runs another organisation's execution does not get it either, though it knows the digest.
        theirs = await start(control_plane, large())
        answer = await control_plane.runtime.get(f"/runtime/v1/executions/{theirs}/outputs/{digest}")
        assert (answer.status_code, answer.json()["code"]) == (410, "output_lost")
        ours = await control_plane.runtime.get(f"/runtime/v1/executions/{shown['execution_id']}/outputs/{digest}")
        assert ours.status_code == 200


class TestEnds:
    async def test_by_the_control_plane(self, control_plane: ControlPlane, served_url: str) -> None:
        """Its runners are gone after the last step: it ends as they would have ended it."""
        document = large()
        execution_id = await start(control_plane, document)
        plan = plan_of(document)

        class Dying(HttpStore):
            async def finish(self, execution_id: str, entry: Any) -> Any:
                raise KeyError

        async with Dying(runtime(served_url)) as own:
            with pytest.raises(KeyError):
                await run_all_units(plan, own, execution_id, Stubs(None))
        state = control_plane.app.state
        async with control_plane.database.transaction(control_plane.organization_id) as session:
            row = await ExecutionRepository(session, control_plane.organization_id).lock(UUID(execution_id))
            assert row is not None
            acceptance = Acceptance(session, control_plane.organization_id, state.settings, state.plans)
            await acceptance.ending().conclude(row, StepError(code="lost", message="lost"))
        shown = await control_plane.show(execution_id)
        assert (shown["status"], shown["output"]) == ("success", None)
        assert (await control_plane.api.get(shown["output_ref"]["url"])).json() == {"count": 3, "again": LARGE}

    async def test_tells_a_waiting_caller_all(self, control_plane: ControlPlane, store: HttpStore) -> None:
        document = large()
        document["tasks"][0]["config"]["set"]["all"] = ["{{ input }}"] * 3
        await control_plane.publish(document)
        value = "y" * 500_000
        call = asyncio.create_task(control_plane.public.post("/webhook/default/large", json=value))
        while not (found := await rows(control_plane, "SELECT id FROM workflow_executions")):
            await asyncio.sleep(0.01)
        await run_all_units(plan_of(document), store, str(found[0][0]), Stubs(None))
        assert (await call).json()["output"] == {"count": 3, "again": [value] * 3}
        shown = await control_plane.show(str(found[0][0]))
        assert shown["output"] is None


class TestRetention:
    async def test_objects_go_after_their_executions(self, control_plane: ControlPlane, store: HttpStore) -> None:
        gone, stays = await run(control_plane, store, large()), await run(control_plane, store, large(), [*LARGE, 1])
        tools = tools_of(control_plane)
        assert await remove_orphans(tools) == {"outputs": 0, "outputs_postponed": 0}
        found = await rows(control_plane, "SELECT execution_id, location FROM stored_outputs")
        location = next(row[1] for row in found if str(row[0]) == gone["execution_id"])
        async with control_plane.database.system() as session:
            await session.execute(
                text("DELETE FROM workflow_executions WHERE id = :id"), {"id": UUID(gone["execution_id"])}
            )
        # One that is being written is not yet anybody's: it has an hour.
        assert (await remove_orphans(tools))["outputs"] == 0
        async with control_plane.database.system() as session:
            await session.execute(text("UPDATE stored_outputs SET created_at = now() - interval '2 hours'"))
        assert (await remove_orphans(tools))["outputs"] == 2
        assert not await exists(control_plane, location)
        assert (await control_plane.api.get(stays["output_ref"]["url"])).status_code == 200

    async def test_all_go_with_their_organisation(self, control_plane: ControlPlane, store: HttpStore) -> None:
        await run(control_plane, store, large())
        locations = [row[0] for row in await rows(control_plane, "SELECT location FROM stored_outputs")]
        await remove_every_object(control_plane.database, control_plane.organization_id)
        assert await rows(control_plane, "SELECT 1 FROM stored_outputs") == []
        assert not any([await exists(control_plane, location) for location in locations])


async def exists(plane: ControlPlane, location: str) -> bool:
    from api.objects.places import ObjectLostError
    from api.objects.store import Kept

    digest = location.rpartition("/")[2]
    try:
        await plane.database.objects.get(plane.organization_id, Kept(digest, 10_000_000, location))
    except ObjectLostError:
        return False
    return True
