"""Runs a whole plan in this process: the same units, runner and rules as in Airflow, without Airflow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from compiler.plan import Plan, Unit, plan_digest
from operators.ai.environment import environment_credential
from operators.execution.asking import Approver, LocalApprovals
from operators.execution.bodies import with_bodies
from operators.execution.clock import Clock
from operators.execution.flow import Flow
from operators.execution.inputs import input_error
from operators.execution.memory import InMemoryStore, StoredExecution
from operators.execution.records import ExecutionStatus, StepError, StepRecord
from operators.execution.runner import Observer, OutcomeKind, run_unit, store_services
from operators.execution.stubs import Stubs
from operators.pods.pool import PodPool
from operators.steps.base import Credentials, EventEmitter, StepServices

MANUAL_TRIGGER: JsonValue = {"type": "manual", "method": None, "path": None, "headers": {}, "query": {}}

FindWorkflow = Callable[[str], Plan | None]
"""Returns a workflow's plan by its id; None where there is none. Raises ``ValueError`` where it has errors."""


def find_none(workflow_id: str) -> None:
    """Find no workflow."""


@dataclass(frozen=True, slots=True)
class LocalResult:
    """The end of a local run; ``steps`` has every step of the plan, in document order, and after each map those of its
    bodies."""

    status: ExecutionStatus
    output: JsonValue
    error: StepError | None
    steps: dict[str, StepRecord] = field(default_factory=dict)


async def run_plan(
    plan: Plan,
    *,
    input: JsonValue,
    trigger: JsonValue = MANUAL_TRIGGER,
    vars: dict[str, JsonValue] | None = None,
    stubs: Stubs | None = None,
    credentials: Credentials = environment_credential,
    approver: Approver | None = None,
    clock: Clock | None = None,
    execution_id: str = "local",
    find_workflow: FindWorkflow = find_none,
    pods: PodPool | None = None,
    known: Mapping[str, StepRecord] | None = None,
    observer: Observer | None = None,
    emit: EventEmitter | None = None,
) -> LocalResult:
    """Run a plan to its end, and all that it starts.

    An input that breaks the schema fails the run with ``invalid_input`` before anything starts.

    :param approver: Asks somebody for each approval without a stub; without it such a step fails.
    :param find_workflow: Finds the plans that ``workflow`` steps name.
    :param pods: Where the steps run whose plan describes a pod; the caller removes them.
    :param known: Final records of steps that are not to be run.
    :param observer: Called with the final record of each step of the plan, as it comes; not with those of children.
    :param emit: Raises the events of the plan and its children; without it they are noted and nobody hears them.
    """
    clock = clock or Clock()
    problem = input_error(plan, input)
    if problem is not None:
        steps = {step.id: StepRecord(id=step.id, status="cancelled") for step in plan.steps}
        return LocalResult("failed", None, StepError(code="invalid_input", message=problem), steps)
    async with asyncio.TaskGroup() as group:
        runs = _Runs(group, find_workflow, credentials, approver, stubs or Stubs(), clock, pods, emit)
        execution = runs.store.accept(
            execution_id, plan, input=input, trigger=trigger, vars=vars, started_at=clock.now(), version=1
        )
        execution.steps.update(known or {})
        await runs.run(execution, runs.stubs, observer)
    steps = {step_id: execution.steps[step_id] for step_id, _ in with_bodies(plan.steps, execution.steps.keys())}
    return LocalResult(execution.status, execution.output, execution.error, steps)


async def run_step(
    plan: Plan,
    step_id: str,
    *,
    outputs: Mapping[str, JsonValue],
    input: JsonValue,
    trigger: JsonValue = MANUAL_TRIGGER,
    vars: dict[str, JsonValue] | None = None,
    stubs: Stubs | None = None,
    credentials: Credentials = environment_credential,
    clock: Clock | None = None,
    find_workflow: FindWorkflow = find_none,
    emit: EventEmitter | None = None,
) -> StepRecord:
    """Run one step of a plan as if others had succeeded; return its final record.

    The workflow's input is not checked: the step may need a part of it only.

    :param outputs: What the others have yielded, by their ids. The names of steps without one are undefined.
    """
    steps = [step for step in plan.steps if step.id == step_id or step.id in outputs]
    (unit,) = (unit for unit in plan.units if step_id in unit.steps)
    part = plan.model_copy(
        update={
            "steps": tuple(step.model_copy(update={"edges": ()}) for step in steps),
            "units": (Unit(id=unit.id, kind=unit.kind, steps=(step_id,)),),
            "input_schema": None,
            "has_output": False,
        }
    )
    known = {
        step.id: StepRecord(id=step.id, status="success", output=outputs[step.id])
        for step in steps
        if step.id != step_id
    }
    result = await run_plan(
        part,
        input=input,
        trigger=trigger,
        vars=vars,
        stubs=stubs,
        credentials=credentials,
        clock=clock,
        find_workflow=find_workflow,
        known=known,
        emit=emit,
    )
    return result.steps[step_id]


class _Runs:
    """The executions of a run: the one that was asked for, and those its ``workflow`` steps start."""

    def __init__(
        self,
        group: asyncio.TaskGroup,
        find: FindWorkflow,
        credentials: Credentials,
        approver: Approver | None,
        stubs: Stubs,
        clock: Clock,
        pods: PodPool | None,
        emit: EventEmitter | None,
    ) -> None:
        self.store = InMemoryStore(credentials=credentials, now=clock.now, workflows=self)
        self.stubs = stubs
        self._group = group
        self._find = find
        self._approver = approver
        self._clock = clock
        self._pods = pods
        self._emit = emit

    def find(self, workflow_id: str) -> Plan | None:
        """Return another workflow's plan."""
        return self._find(workflow_id)

    def launch(self, child: StoredExecution) -> None:
        """Run a child beside its parent."""
        self._group.create_task(self.run(child, self.stubs.of(child.plan.workflow_id)))

    async def run(self, execution: StoredExecution, stubs: Stubs, observer: Observer | None = None) -> None:
        """Run an accepted execution to its end."""
        services = store_services(self.store, execution.info.id, self._clock)
        services.pods = self._pods
        services.emit = self._emit or services.emit
        approvals = services.approvals = LocalApprovals(self.store, self._approver)
        try:
            await _Units(execution.plan, self.store, services, execution, stubs, self._clock, observer).run()
        finally:
            await approvals.close()
            await services.close()


class _Units:
    """The units of a run, each started by the rule its Airflow task has."""

    def __init__(
        self,
        plan: Plan,
        store: InMemoryStore,
        services: StepServices,
        execution: StoredExecution,
        stubs: Stubs,
        clock: Clock,
        observer: Observer | None,
    ) -> None:
        self._plan = plan
        self._flow = Flow(plan)
        self._digest = plan_digest(plan.to_bytes())
        self._store = store
        self._services = services
        self._execution = execution
        self._stubs = stubs
        self._clock = clock
        self._observer = observer
        self._ended: dict[str, asyncio.Future[OutcomeKind]] = {}
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Run every unit."""
        loop = asyncio.get_running_loop()
        self._ended = {unit.id: loop.create_future() for unit in self._plan.units}
        async with asyncio.TaskGroup() as group:
            for unit in self._plan.units:
                group.create_task(self._run(unit))

    async def _run(self, unit: Unit) -> None:
        upstream = [self._ended[unit_id] for unit_id in unit.upstream]
        if unit.starts_on_any and upstream:
            await asyncio.wait(upstream, return_when=asyncio.FIRST_COMPLETED)
        elif "failed" in [await ended for ended in upstream]:
            # Airflow does not start it either (`none_failed`); whoever ends the execution marks its steps.
            self._end(unit, "failed")
            return
        while True:
            # Taken before the run, so that no change during it is missed.
            changed = self._changed
            outcome = await self._run_once(unit)
            if outcome != "undecided":
                self._end(unit, outcome)
                return
            await changed.wait()

    async def _run_once(self, unit: Unit) -> OutcomeKind:
        outcome = await run_unit(
            self._plan,
            unit.id,
            self._store,
            self._services,
            execution_id=self._execution.info.id,
            owner=unit.id,
            plan_digest=self._digest,
            flow=self._flow,
            stubs=self._stubs,
            clock=self._clock,
            observer=self._observe,
        )
        if outcome.kind == "ended":
            return "done" if outcome.status == "success" else "failed"
        return outcome.kind

    def _observe(self, record: StepRecord) -> None:
        if self._observer is not None:
            self._observer(record)
        self._change()

    def _end(self, unit: Unit, outcome: OutcomeKind) -> None:
        self._ended[unit.id].set_result(outcome)
        self._change()

    def _change(self) -> None:
        """Wake the units that wait for a step to be decided or a unit to end."""
        self._changed.set()
        self._changed = asyncio.Event()
