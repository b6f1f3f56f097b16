"""The operator of an approval: what Airflow is told, and what becomes of answers given in Airflow."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import CreateHITLDetailPayload, GetHITLDetailResponse

from compiler.plan import Plan, Unit
from operators.tasks.approval import ApprovalOperator
from operators.tasks.segment import PlanFile
from operators.tasks.triggers import ApprovalTrigger
from tests.operators.execution.plans import plan_of, step
from tests.operators.tasks.test_segment_operator import MARKER, World, world

__all__ = ["world"]

pytestmark = pytest.mark.unit

TASK_INSTANCE = UUID("01990000-0000-7000-8000-000000000009")


class Supervisor:
    """The door to Airflow: one required action, as Airflow's Execution API keeps it. Only triggers may read it."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.answer: tuple[str, str] | None = None

    def send(self, msg: Any) -> Any:
        self.sent.append(msg)
        assert msg.ti_id == TASK_INSTANCE
        if isinstance(msg, CreateHITLDetailPayload):
            self.answer = None
            return None
        assert isinstance(msg, GetHITLDetailResponse)
        if self.answer is None:
            return SimpleNamespace(response_received=False, chosen_options=None, responded_by_user=None)
        option, name = self.answer
        user = SimpleNamespace(id="7", name=name)
        return SimpleNamespace(response_received=True, chosen_options=iter([option]), responded_by_user=user)


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    supervisor = Supervisor()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    return supervisor


def plan(**config: Any) -> Plan:
    question = {"title": MARKER, "body": MARKER, **config}
    return plan_of(
        step("ask", type="approval", config=question), units=(Unit(id="ask", kind="approval", steps=("ask",)),)
    )


class Task:
    """The task of a published plan."""

    def __init__(self, world: World, plan: Plan) -> None:
        self._file = world.publish(plan)
        self.context: Any = {
            "dag_run": SimpleNamespace(run_id="run-1", clear_number=0), "ti": SimpleNamespace(id=TASK_INSTANCE)
        }  # fmt: skip

    def start(self) -> None:
        operator = ApprovalOperator(task_id="ask", plan=self._file)
        ApprovalOperator.execute.__wrapped__(operator, self.context)  # type: ignore[attr-defined]

    def park(self) -> ApprovalTrigger:
        with pytest.raises(TaskDeferred) as deferred:
            self.start()
        assert isinstance(deferred.value.trigger, ApprovalTrigger)
        assert (deferred.value.method_name, deferred.value.kwargs) == ("resume", {"execution_id": "run-1"})
        return deferred.value.trigger

    def resume(self, monkeypatch: pytest.MonkeyPatch, option: str | None = None, name: str = "ann") -> None:
        event = option and {"chosen_options": [option], "responded_by_user": {"id": "7", "name": name}}
        # Airflow's guard wants its own task runner around `execute`.
        monkeypatch.setattr("airflow.sdk.bases.operator.ExecutorSafeguard.test_mode", True)
        ApprovalOperator(task_id="ask", plan=self._file).resume(self.context, event, "run-1")


def test_airflow_is_told_a_fixed_text_and_options(world: World, airflow: Supervisor) -> None:
    Task(world, plan(assignees=[MARKER])).park()
    (told,) = airflow.sent
    assert (told.subject, told.body, told.options) == ("Approval of step ask", None, ["Approve", "Reject"])
    assert (told.defaults, told.params, told.assigned_users) == (None, {}, [])
    assert world.store.execution("run-1").approvals["ask"].request.title == MARKER


def test_the_trigger_holds_ids_and_a_moment(world: World, airflow: Supervisor) -> None:
    before = datetime.now(UTC).timestamp()
    trigger = Task(world, plan(timeout=60.0)).park()
    name, arguments = trigger.serialize()
    until = arguments.pop("until")
    assert name == "operators.tasks.triggers.ApprovalTrigger"
    approval = world.store.execution("run-1").approvals["ask"]
    assert arguments == {"execution_id": "run-1", "awaited": [approval.id], "task_instance_id": str(TASK_INSTANCE)}
    assert before + 59 < until < before + 70


async def fire(trigger: ApprovalTrigger) -> Any:
    (payload,) = [event.payload async for event in trigger.run()]
    return payload


async def test_the_trigger_fires_at_a_decision_of_ours(world: World, airflow: Supervisor) -> None:
    trigger = await asyncio.to_thread(Task(world, plan()).park)
    world.store.decide(trigger.awaited[0], "approve")
    assert await fire(trigger) is None


async def test_the_trigger_fires_at_an_answer_that_was_quicker_than_parking(world: World, airflow: Supervisor) -> None:
    trigger = await asyncio.to_thread(Task(world, plan()).park)
    airflow.answer = ("Approve", "ann")
    expected = {"chosen_options": ["Approve"], "responded_by_user": {"id": "7", "name": "ann"}}
    assert await fire(trigger) == expected


def test_an_answer_of_ours(world: World, airflow: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    task = Task(world, plan())
    world.store.decide(task.park().awaited[0], "approve", by="bob")
    task.resume(monkeypatch)
    execution = world.store.execution("run-1")
    assert execution.status == "success"
    assert execution.approvals["ask"].by == "bob"


@pytest.mark.parametrize(("option", "decision"), [("Approve", "approve"), ("Reject", "reject")])
def test_an_answer_in_airflow(
    world: World, airflow: Supervisor, monkeypatch: pytest.MonkeyPatch, option: str, decision: str
) -> None:
    task = Task(world, plan(routes={"approve": "x"}))
    task.park()
    task.resume(monkeypatch, option)
    approval = world.store.execution("run-1").approvals["ask"]
    assert (approval.decision, approval.by) == (decision, "ann")
    assert world.store.execution("run-1").status == "success"


def test_an_answer_in_airflow_that_does_not_count_opens_it_again(
    world: World, airflow: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Task(world, plan(assignees=["bob"]))
    first = task.park()
    airflow.answer = ("Approve", "ann")
    with pytest.raises(TaskDeferred) as again:
        task.resume(monkeypatch, "Approve")
    assert isinstance(again.value.trigger, ApprovalTrigger)
    assert again.value.trigger.awaited == first.awaited
    assert isinstance(airflow.sent[-1], CreateHITLDetailPayload)
    assert airflow.answer is None
    assert world.store.execution("run-1").approvals["ask"].decision is None


def test_the_first_answer_counts(world: World, airflow: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    task = Task(world, plan(routes={"approve": "x"}))
    world.store.decide(task.park().awaited[0], "reject", by="bob")
    task.resume(monkeypatch, "Approve")
    approval = world.store.execution("run-1").approvals["ask"]
    assert (approval.decision, approval.by) == ("reject", "bob")


def test_what_a_cleared_task_left_is_no_answer(world: World, airflow: Supervisor) -> None:
    task = Task(world, plan())
    airflow.answer = ("Approve", "ann")
    task.park()
    assert [type(message) for message in airflow.sent] == [CreateHITLDetailPayload]
    assert world.store.execution("run-1").approvals["ask"].decision is None


def test_a_rejection_fails_the_task_and_says_no_more_than_its_code(
    world: World, airflow: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Task(world, plan())
    world.store.decide(task.park().awaited[0], "reject", comment=MARKER)
    with pytest.raises(AirflowFailException) as failure:
        task.resume(monkeypatch)
    assert str(failure.value) == "the execution failed: step ask (approval_rejected)"
    error = world.store.execution("run-1").steps["ask"].error
    assert error is not None
    assert MARKER in error.message


def test_nothing_is_templated_or_pushed(tmp_path: Path) -> None:
    operator = ApprovalOperator(task_id="ask", plan=PlanFile(str(tmp_path / "x.py"), sha256="0"))
    assert operator.template_fields == ()
    assert operator.do_xcom_push is False
