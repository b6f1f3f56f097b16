"""A segment that begins in the triggerer: what runs there, what goes to a worker, and that it blocks nobody."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException
from airflow.serialization.serialized_objects import DagSerialization
from airflow.triggers.base import TaskSkippedEvent, TaskSuccessEvent, TriggerEvent

from compiler.plan import Plan, Unit
from operators.execution.records import LeaseRequest
from operators.settings import SEGMENTS_IN_TRIGGERER
from operators.steps.base import StepResult
from operators.tasks.code import CodeOperator
from operators.tasks.in_triggerer import SegmentTrigger
from operators.tasks.segment import PlanFile, SegmentOperator
from operators.tasks.wait import WaitOperator
from tests.operators.execution.plans import model_step, plan_of, step
from tests.operators.execution.runner_tools import Scripted, scripted
from tests.operators.tasks.test_segment_operator import MARKER, NOW, World, types, world

pytestmark = pytest.mark.unit

__all__ = ["types", "world"]


def trigger(world: World, plan: Plan, unit: str = "all", *, tries: int = 1, input: Any = None) -> SegmentTrigger:
    """Publish a plan; return the trigger of a unit, as the triggerer gets it: it is not told of any clearing."""
    file = world.publish(plan, input=input)
    world.api.artifacts[file.sha256] = plan.to_bytes()
    made = SegmentTrigger(unit, file.sha256)
    dag_run = SimpleNamespace(
        run_id="run-1", clear_number=0, run_type=world.run_type, logical_date=None, run_after=NOW, conf=None
    )
    task: Any = SimpleNamespace(task_id=unit, try_number=tries, get_template_context=lambda: {"dag_run": dag_run})
    made.task_instance = task
    return made


async def fired(made: SegmentTrigger) -> TriggerEvent:
    [event] = [event async for event in made.run()]
    return event


def goes_to_a_worker(event: TriggerEvent) -> bool:
    return type(event) is TriggerEvent and event.payload is None


class TestOutcomes:
    async def test_done(self, world: World) -> None:
        made = trigger(world, plan_of(model_step("a", "{{ input }}", next="b"), step("b")), input=MARKER)
        event = await fired(made)
        assert isinstance(event, TaskSuccessEvent)
        assert MARKER not in event.model_dump_json()
        assert world.store.execution("run-1").status == "success"

    async def test_skipped(self, world: World) -> None:
        choice = step("c", type="conditional", config={"conditions": [{"if": "{{ false }}", "then": "x"}]}, then="x")
        units = (Unit(id="c", steps=("c",)), Unit(id="x", steps=("x",), upstream=("c",)))
        plan = plan_of(choice, step("x"), units=units)
        made = trigger(world, plan, "c")
        assert isinstance(await fired(made), TaskSuccessEvent)
        made.unit = "x"
        assert isinstance(await fired(made), TaskSkippedEvent)

    async def test_a_failure_is_a_workers_to_tell(self, world: World) -> None:
        plan = plan_of(step("a", config={"set": {"x": "{{ input.missing }}"}}))
        assert goes_to_a_worker(await fired(trigger(world, plan, input={MARKER: 1})))
        assert world.store.execution("run-1").status == "failed"
        with pytest.raises(AirflowFailException):
            await asyncio.to_thread(world.execute, file_of(world))

    async def test_a_second_try_is_a_workers(self, world: World, types: Scripted) -> None:
        assert goes_to_a_worker(await fired(trigger(world, plan_of(scripted("a")), tries=2)))
        assert (world.api.calls, types.calls) == ([], {})

    async def test_what_has_ended_may_have_been_cleared(self, world: World, types: Scripted) -> None:
        made = trigger(world, plan_of(scripted("a")))
        await fired(made)
        assert goes_to_a_worker(await fired(made))
        assert types.calls == {"a": 1}

    async def test_broken_off_twice_before(self, world: World, types: Scripted) -> None:
        made = trigger(world, plan_of(scripted("a")))
        for owner in ("one", "two"):
            request = LeaseRequest(
                organization="test", workflow_id="flow", unit="all", owner=owner, plan_digest=made.sha256
            )
            await world.store.lease("run-1", request)
            world.store.execution("run-1").leases["all"].expires = 0.0
        assert goes_to_a_worker(await fired(made))
        assert types.calls == {}

    async def test_the_control_plane_has_no_such_plan(self, world: World) -> None:
        made = trigger(world, plan_of(step("a", config={"set": {"only": "here"}})))
        world.api.artifacts[made.sha256] = b"other bytes"
        assert goes_to_a_worker(await fired(made))


class TestBlocking:
    async def test_a_step_that_computes_does_not_hold_up_the_loop(self, world: World, types: Scripted) -> None:
        def compute(_: int) -> StepResult:
            time.sleep(0.4)
            return StepResult(None)

        types.script["a"] = compute
        running = asyncio.create_task(fired(trigger(world, plan_of(scripted("a")))))
        ticks = 0
        while not running.done():
            await asyncio.sleep(0.01)
            ticks += "a" in types.calls
        assert isinstance(await running, TaskSuccessEvent)
        assert ticks > 5

    async def test_stopped_in_the_middle(self, world: World, types: Scripted) -> None:
        async def never(_: int) -> StepResult:
            await asyncio.Event().wait()
            raise AssertionError

        types.script["b"] = never
        made = trigger(world, plan_of(scripted("a", next="b"), scripted("b")))
        running = asyncio.create_task(fired(made))
        while "b" not in types.calls:
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        while world.api.calls[-1][0] != "settle":
            await asyncio.sleep(0.01)
        execution = world.store.execution("run-1")
        assert (execution.status, execution.steps["a"].status) == ("running", "success")


class TestOperator:
    @pytest.fixture
    def on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(SEGMENTS_IN_TRIGGERER, "1")

    def operators(self) -> dict[str, Any]:
        plan = PlanFile("/x/test__flow.py", sha256="a" * 64)
        with DAG("test__flow", schedule=None) as dag:
            SegmentOperator(task_id="light", plan=plan)
            SegmentOperator(task_id="any", plan=plan, trigger_rule="one_done")
            WaitOperator(task_id="wait", plan=plan)
            CodeOperator(task_id="code", plan=plan)
        tasks = DagSerialization.to_dict(dag)["dag"]["tasks"]
        return {task["__var"]["task_id"]: task["__var"] for task in tasks}

    @pytest.mark.usefixtures("on")
    def test_airflow_stores_an_id_and_a_digest(self) -> None:
        found = self.operators()
        assert [name for name, task in found.items() if task.get("start_from_trigger")] == ["light"]
        assert "'sha256': '" + "a" * 64 in str(found["light"]["start_trigger_args"])
        assert set(found["light"]["start_trigger_args"]["trigger_kwargs"]["__var"]) == {"unit", "sha256"}

    def test_off_by_default(self) -> None:
        assert not any(task.get("start_from_trigger") for task in self.operators().values())


def file_of(world: World) -> PlanFile:
    [digest] = world.api.artifacts
    return PlanFile(str(world.directory / "test__flow.py"), sha256=digest)
