"""The Airflow operator against a runtime API on a loopback port, without Airflow's services."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSkipException,
    TaskDeferred,
)
from airflow.utils.types import DagRunType

from compiler.plan import Limits, Plan, Unit, plan_digest
from operators.execution.memory import InMemoryStore
from operators.tasks.code import CodeOperator
from operators.tasks.segment import PlanFile, SegmentOperator
from operators.tasks.triggers import StepTrigger
from tests.operators.execution.plans import model_step, plan_of, step
from tests.operators.execution.runner_tools import Scripted, scripted, scripted_type
from tests.stubs.http_server import HttpServer
from tests.stubs.runtime_api import TOKEN, RuntimeApi

pytestmark = pytest.mark.unit

DAG_ID = "test__flow-v3"

ROOT = Path(__file__).parents[3]
NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
MARKER = "tenant-marker-7f3a"


class World:
    """A runtime API, a DAG file's directory, and Airflow's context."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store = InMemoryStore()
        self.api = RuntimeApi(self.store)
        config = uvicorn.Config(self.api.app, host="127.0.0.1", port=0, log_level="critical", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self.clear_number: int | None = None
        self.run_type = DagRunType.MANUAL
        self.logical_date: datetime | None = None
        self.conf: Any = None

    def __enter__(self) -> World:
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()

    @property
    def url(self) -> str:
        port = self._server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    def publish(self, plan: Plan, *, input: Any = None) -> PlanFile:
        data = plan.to_bytes()
        (self.directory / "test__flow.plan.json").write_bytes(data)
        self.store.accept("run-1", plan, input=input)
        return PlanFile(str(self.directory / "test__flow.py"), sha256=plan_digest(data))

    def execute(self, plan: PlanFile, unit: str = "all", kind: type[SegmentOperator] = SegmentOperator) -> None:
        dag_run = SimpleNamespace(
            run_id="run-1", dag_id=DAG_ID, clear_number=self.clear_number, run_type=self.run_type,
            logical_date=self.logical_date, run_after=NOW, conf=self.conf,
        )  # fmt: skip
        operator = kind(task_id=unit, plan=plan)
        operator._lock_for_execution = True
        context: Any = {"dag_run": dag_run}
        SegmentOperator.execute.__wrapped__(operator, context)  # type: ignore[attr-defined]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with World(tmp_path) as world:
        monkeypatch.setenv("AGENT_FACTORY_API_URL", world.url)
        monkeypatch.setenv("AGENT_FACTORY_RUNTIME_TOKEN", TOKEN)
        yield world


@pytest.fixture
def types() -> Iterator[Scripted]:
    with scripted_type() as handler:
        yield handler


class TestOutcomes:
    def test_done(self, world: World) -> None:
        plan = world.publish(plan_of(model_step("a", "{{ input }}", next="b"), step("b")), input=MARKER)
        world.execute(plan)
        execution = world.store.execution("run-1")
        assert execution.status == "success"
        assert MARKER in str(execution.steps["a"].output)

    def test_skipped(self, world: World) -> None:
        choice = step("c", type="conditional", config={"conditions": [{"if": "{{ false }}", "then": "x"}]}, then="x")
        units = (Unit(id="c", steps=("c",)), Unit(id="x", steps=("x",), upstream=("c",)))
        plan = world.publish(plan_of(choice, step("x"), units=units))
        world.execute(plan, "c")
        with pytest.raises(AirflowSkipException):
            world.execute(plan, "x")

    @pytest.mark.parametrize("code", ["paused", "not_begun"])
    def test_a_run_that_begins_nothing(self, world: World, code: str) -> None:
        """It is skipped; but not what a unit waits for that begins after any: Airflow would not begin that."""
        units = (
            Unit(id="a", steps=("a",)),
            Unit(id="b", steps=("b",)),
            Unit(id="x", steps=("x",), upstream=("b",), starts_on_any=True),
        )
        plan = world.publish(plan_of(step("a"), step("b", next="x"), step("x", join="any"), units=units))
        world.api.refuses = code
        with pytest.raises(AirflowSkipException):
            world.execute(plan, "a")
        world.execute(plan, "b")
        with pytest.raises(AirflowSkipException):
            world.execute(plan, "x")
        assert [call for call, _ in world.api.calls] == ["lease"] * 3

    def test_failed_names_steps_and_codes_only(self, world: World) -> None:
        # The step's error names the keys there are; that is not for Airflow.
        config = {"set": {"x": "{{ input.missing }}"}}
        plan = world.publish(plan_of(step("a", config=config)), input={MARKER: 1})
        with pytest.raises(AirflowFailException) as failure:
            world.execute(plan)
        assert str(failure.value) == "the execution failed: step a (expression_error)"
        assert MARKER in str(world.store.execution("run-1").error)

    def test_undecided_is_rescheduled(self, world: World) -> None:
        units = (Unit(id="a", steps=("a",)), Unit(id="x", steps=("x",), upstream=("a",), starts_on_any=True))
        plan = world.publish(plan_of(step("a", next="x"), step("x", join="any"), units=units))
        with pytest.raises(AirflowRescheduleException) as again:
            world.execute(plan, "x")
        assert again.value.reschedule_date > datetime.now(UTC)

    def test_undecided_where_that_cannot_be_is_an_error(self, world: World) -> None:
        units = (Unit(id="a", steps=("a",)), Unit(id="x", steps=("x",), upstream=("a",)))
        plan = world.publish(plan_of(step("a", next="x"), step("x"), units=units))
        with pytest.raises(AirflowException, match="without deciding"):
            world.execute(plan, "x")

    def test_ended_well_and_badly(self, world: World) -> None:
        plan = world.publish(plan_of(step("a")))
        world.execute(plan)
        world.execute(plan)
        world.store.execution("run-1").status = "cancelled"
        with pytest.raises(AirflowFailException, match="cancelled"):
            world.execute(plan)

    def test_clear_number_is_passed_on(self, world: World, types: Scripted) -> None:
        plan = world.publish(plan_of(scripted("a")))
        world.clear_number = 4
        world.execute(plan)
        assert world.store.execution("run-1").clear_number == 4


class TestWaiting:
    def plan(self, seconds: float) -> Plan:
        pause = step("pause", type="wait", config={"seconds": seconds})
        return plan_of(pause, units=(Unit(id="pause", kind="wait", steps=("pause",)),))

    def test_it_is_deferred_with_ids_and_a_moment_only(self, world: World) -> None:
        plan = world.publish(self.plan(3600))
        with pytest.raises(TaskDeferred) as deferred:
            world.execute(plan, "pause")
        name, arguments = deferred.value.trigger.serialize()
        assert name == "operators.tasks.triggers.StepTrigger"
        began = world.store.execution("run-1").steps["pause"].started_at
        assert began is not None
        assert arguments == {"execution_id": "run-1", "awaited": [], "until": began.timestamp() + 3600}
        assert (deferred.value.method_name, deferred.value.kwargs) == ("resume", None)

    def test_a_trigger_that_airflow_has_stored_since_it_had_one_id(self) -> None:
        assert [StepTrigger("run-1", stored).awaited for stored in ("child", None)] == [["child"], []]

    async def test_the_trigger_fires_at_the_moment(self, world: World) -> None:
        world.publish(self.plan(3600))
        events = [event async for event in StepTrigger("run-1", until=time.time() + 0.2).run()]
        assert [event.payload for event in events] == [None]

    async def test_the_moment_is_that_of_the_control_planes_clock(self, world: World) -> None:
        world.publish(self.plan(3600))
        world.api.ahead = timedelta(hours=1)
        due = StepTrigger("run-1", until=time.time() + 3599)
        assert [event.payload async for event in due.run()] == [None]
        asked = len(world.api.calls)
        world.api.ahead = -timedelta(hours=1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.2):
                [event async for event in StepTrigger("run-1", until=time.time()).run()]
        assert len(world.api.calls) - asked <= 5, "each watch is held open, not asked again and again"

    async def test_the_trigger_fires_when_the_execution_fails(self, world: World) -> None:
        world.publish(self.plan(3600))
        world.store.cancel("run-1")
        events = [event async for event in StepTrigger("run-1", until=time.time() + 3600).run()]
        assert len(events) == 1

    async def test_the_trigger_fires_for_an_execution_nobody_knows(self, world: World) -> None:
        assert len([event async for event in StepTrigger("no-such-run").run()]) == 1

    def test_it_goes_on_after_the_trigger(self, world: World) -> None:
        plan = world.publish(self.plan(0.5))  # longer than the way to the deferral, also on a busy machine
        with pytest.raises(TaskDeferred):
            world.execute(plan, "pause")
        time.sleep(0.5)  # The wait itself.
        world.execute(plan, "pause")
        assert world.store.execution("run-1").status == "success"


class TestNothingLeaks:
    def test_the_log_has_figures_and_no_text(
        self, world: World, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
    ) -> None:
        caplog.set_level(logging.DEBUG)
        bad = step("bad", config={"set": {"x": "{{ input.missing }}"}}, on_error="continue")
        plan = world.publish(plan_of(model_step("a", "{{ input }}", model=f"test:{MARKER}"), bad), input=MARKER)
        world.execute(plan)
        # Airflow's logger writes to stdout here, libraries to the logging module.
        printed = capsys.readouterr()
        text = "\n".join([printed.out, printed.err, *(record.getMessage() for record in caplog.records)])
        assert "::group::step a: success" in text
        assert "tokens in 1" in text
        assert "error code expression_error" in text
        assert "::endgroup::" in text
        assert MARKER not in text

    def test_a_request_is_not_logged(
        self,
        world: World,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        caplog.set_level(logging.DEBUG)
        monkeypatch.setenv("AGENT_FACTORY_EGRESS_ALLOW", "127.0.0.1")
        with HttpServer() as server:
            server.on("/", lambda exchange: exchange.answer(500, MARKER.encode(), x_marker=MARKER))
            config = {"method": "POST", "url": server.url(f"/?x={MARKER}"), "headers": {"x-a": MARKER}, "body": MARKER}
            plan = world.publish(plan_of(step("a", type="http_request", config=config)))
            with pytest.raises(AirflowFailException) as failure:
                world.execute(plan)
            assert MARKER in server.requests[0].target
        assert str(failure.value) == "the execution failed: step a (http_status)"
        printed = capsys.readouterr()
        text = "\n".join([printed.out, printed.err, *(record.getMessage() for record in caplog.records)])
        assert "error code http_status" in text
        assert MARKER not in text

    def test_an_exception_of_ours_has_no_text_and_no_history(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def broken(*_: Any, **__: Any) -> None:
            raise ValueError(MARKER)

        monkeypatch.setattr("operators.execution.runner.run_unit", broken)
        plan = world.publish(plan_of(step("a")))
        with pytest.raises(AirflowException) as failure:
            world.execute(plan)
        assert not isinstance(failure.value, AirflowFailException)
        assert MARKER not in str(failure.value)
        assert failure.value.__cause__ is None
        assert failure.value.__context__ is None

    def test_nothing_is_templated_or_pushed(self, world: World) -> None:
        operator = SegmentOperator(task_id="a", plan=PlanFile("x.py", sha256="0"))
        assert operator.template_fields == ()
        assert operator.do_xcom_push is False


class TestCode:
    def plan(self, world: World, source: str) -> PlanFile:
        limits = Limits(cpu_millicores=1000, memory_bytes=1 << 28, ephemeral_storage_bytes=1 << 25)
        config = {"language": "python", "input": {"text": "{{ input }}"}}
        fields: dict[str, Any] = {"type": "code", "code": source, "limits": limits, "timeout_seconds": 30.0}
        return world.publish(plan_of(step("a", config=config, **fields)), input=MARKER)

    def test_result(self, world: World, capsys: pytest.CaptureFixture[str]) -> None:
        world.execute(self.plan(world, f"def main(input):\n    print('{MARKER}')\n    return input"), kind=CodeOperator)
        assert world.store.execution("run-1").steps["a"].output == {"text": MARKER}
        printed = capsys.readouterr()
        assert MARKER not in printed.out + printed.err

    def test_failure(self, world: World, capsys: pytest.CaptureFixture[str]) -> None:
        plan = self.plan(world, f"def main(input):\n    print('{MARKER}')\n    raise ValueError(input)")
        with pytest.raises(AirflowFailException) as failure:
            world.execute(plan, kind=CodeOperator)
        assert str(failure.value) == "the execution failed: step a (code_error)"
        error = world.store.execution("run-1").steps["a"].error
        assert error is not None
        assert error.message.count(MARKER) == 2
        printed = capsys.readouterr()
        assert MARKER not in printed.out + printed.err

    def test_nothing_is_templated(self) -> None:
        assert CodeOperator.template_fields == ()


class TestWhatCannotRun:
    def test_no_plan(self, world: World) -> None:
        plan = PlanFile(str(world.directory / "gone.py"), sha256="0" * 64)
        with pytest.raises(AirflowFailException, match=r"gone\.plan\.json"):
            world.execute(plan)

    def test_another_plan(self, world: World) -> None:
        plan = world.publish(plan_of(step("a")))
        with pytest.raises(AirflowFailException, match="digest"):
            world.execute(PlanFile(plan.dag_file, sha256="0" * 64))

    def test_no_such_unit(self, world: World) -> None:
        with pytest.raises(AirflowFailException, match="unit"):
            world.execute(world.publish(plan_of(step("a"))), "b")

    def test_missing_settings(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AGENT_FACTORY_RUNTIME_TOKEN")
        with pytest.raises(AirflowFailException, match="AGENT_FACTORY_RUNTIME_TOKEN"):
            world.execute(world.publish(plan_of(step("a"))))

    def test_wrong_token(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AGENT_FACTORY_RUNTIME_TOKEN", "wrong")
        with pytest.raises(AirflowFailException, match="401"):
            world.execute(world.publish(plan_of(step("a"))))


def test_on_kill_cancels_the_run(world: World, types: Scripted) -> None:
    plan = world.publish(plan_of(scripted("a")))
    types.gate("a")
    operator = SegmentOperator(task_id="all", plan=plan)
    dag_run = SimpleNamespace(run_id="run-1", clear_number=0)

    def kill_when_begun() -> None:
        while "a" not in types.calls:
            assert main.is_alive()
        operator.on_kill()

    main = threading.current_thread()
    killer = threading.Thread(target=kill_when_begun)
    killer.start()
    context: Any = {"dag_run": dag_run}
    with pytest.raises(AirflowException, match="told to stop"):
        SegmentOperator.execute.__wrapped__(operator, context)  # type: ignore[attr-defined]
    killer.join()
    assert world.store.execution("run-1").status == "running"


def test_parsing_a_dag_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom airflow.sdk import DAG\nbefore = set(sys.modules)\n"
        "import operators.tasks.segment\n"
        "new = {name for name in set(sys.modules) - before}\n"
        "assert not {'httpx', 'tenacity', 'compiler.plan', 'jinja2', 'pydantic_ai', 'openai'} & new, new\n"
        "assert len([name for name in new if not name.startswith('operators')]) < 30, sorted(new)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_log_names_the_execution(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.execute(world.publish(plan_of(step("a"))))
    assert "execution run-1" in capsys.readouterr().out


class TestRunStart:
    def lease(self, world: World) -> dict[str, Any]:
        world.execute(world.publish(plan_of(step("a"))))
        sent = next(body for action, body in world.api.calls if action == "lease").run.model_dump()
        assert isinstance(sent, dict)
        return sent

    def test_manual(self, world: World) -> None:
        assert self.lease(world) == {"scheduled": False, "due_at": NOW, "input_id": None, "dag_id": DAG_ID}

    @pytest.mark.parametrize("run_type", [DagRunType.SCHEDULED, DagRunType.BACKFILL_JOB])
    def test_scheduled(self, world: World, run_type: DagRunType) -> None:
        world.run_type, world.logical_date = run_type, datetime(2026, 11, 24, 9, tzinfo=UTC)
        assert self.lease(world) == {
            "scheduled": True,
            "due_at": world.logical_date,
            "input_id": None,
            "dag_id": DAG_ID,
        }

    @pytest.mark.parametrize(
        ("conf", "input_id"),
        [({"input_id": "0199"}, "0199"), ({"input_id": None}, None), ({"input_id": 7, "x": MARKER}, "7"),
         ({"input_id": "x" * 1000}, "x" * 100), (["input_id"], None), ({}, None)],
    )  # fmt: skip
    def test_only_the_input_id_of_the_conf_is_sent(self, world: World, conf: Any, input_id: str | None) -> None:
        world.conf = conf
        assert self.lease(world) == {"scheduled": False, "due_at": NOW, "input_id": input_id, "dag_id": DAG_ID}
