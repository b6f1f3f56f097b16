"""What can be said of a workflow before it runs, as plain data. The renderings of it are beside this file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from compiler.check import CheckedWorkflow
from compiler.compilation import check_workflow
from compiler.diagnostics import Diagnostic, has_errors
from compiler.explain.order import Order
from compiler.plan import EdgeKind, Join, Plan, Retry, Step, Trigger, UnitKind
from compiler.planning import Fusion, make_plan
from compiler.resolve import Task
from compiler.steps import STEP_TYPES


@dataclass(frozen=True, slots=True)
class Way:
    """An edge out of a step.

    :param conditions: For ``then`` the expressions that choose it; else empty.
    """

    kind: EdgeKind
    target: str
    conditions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExplainedStep:
    """One step.

    :param available: Whether this version can run it.
    :param airflow_task: Id of the Airflow task that runs it.
    :param after: The steps with an edge to it, in document order.
    :param beside: The steps that may run at the same time: no way leads from one to the other, and no decision
        chooses between them.
    :param timeout_seconds: Of one attempt.
    :param inferred: The fields of its output that were inferred from how it is used.
    :param body: The tasks of a ``map``: id and type.
    """

    id: str
    type: str
    available: bool
    airflow_task: str
    join: Join
    after: tuple[str, ...]
    beside: tuple[str, ...]
    ways: tuple[Way, ...]
    retry: Retry
    timeout_seconds: float | None
    on_error: str
    inferred: tuple[str, ...] = ()
    body: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ExplainedUnit:
    """One Airflow task.

    :param waits_for: The Airflow tasks before it; for all of them, or with ``starts_on_any`` for the first.
    :param beside: The Airflow tasks that may run at the same time.
    """

    id: str
    kind: UnitKind
    waits_for: tuple[str, ...]
    starts_on_any: bool
    beside: tuple[str, ...]
    steps: tuple[ExplainedStep, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """A workflow, explained; ``units`` are in an order in which each comes after those it waits for."""

    workflow_id: str
    name: str
    label: str
    triggers: tuple[Trigger, ...]
    timeout_seconds: float | None
    fusion: str
    vars: tuple[str, ...]
    has_output: bool
    units: tuple[ExplainedUnit, ...]

    @property
    def steps(self) -> Iterator[ExplainedStep]:
        """Every step, unit by unit."""
        return (step for unit in self.units for step in unit.steps)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        data = asdict(self)
        data["triggers"] = [trigger.model_dump(mode="json") for trigger in self.triggers]
        for unit in data["units"]:
            for step in unit["steps"]:
                step["retry"] = step["retry"].model_dump(mode="json")
                step["body"] = [{"id": task_id, "type": type_name} for task_id, type_name in step["body"]]
        return data


def explain_workflow(
    source: bytes | str, *, fusion: Fusion | None = None
) -> tuple[list[Diagnostic], Explanation | None]:
    """Explain a workflow file, also one of which parts do not run yet.

    :param fusion: Overrules ``settings.fusion``.
    :return: Every problem, in document order, and the explanation; None where there are errors.
    """
    # A container can be explained on a machine that could not run it.
    checked = check_workflow(source, isolation="kubernetes", for_run=False)
    if checked.workflow is None or has_errors(checked.diagnostics):
        return checked.diagnostics, None
    plan = make_plan(checked.workflow, organization="local", isolation="kubernetes", fusion=fusion)
    return checked.diagnostics, _explain(plan, checked.workflow)


def _explain(plan: Plan, checked: CheckedWorkflow) -> Explanation:
    order = Order(plan)
    homes = {step_id: unit.id for unit in plan.units for step_id in unit.steps}
    tasks = {task.id: task for task in checked.workflow.tasks}
    steps = {step.id: _step(step, homes[step.id], order, tasks[step.id]) for step in plan.steps}
    beside: dict[str, set[str]] = {unit.id: set() for unit in plan.units}
    for step in steps.values():
        beside[step.airflow_task] |= {homes[other] for other in step.beside} - {step.airflow_task}
    units = {unit.id: unit for unit in plan.units}
    return Explanation(
        workflow_id=plan.workflow_id,
        name=plan.name,
        label=plan.label,
        triggers=plan.triggers,
        timeout_seconds=plan.timeout_seconds,
        fusion=plan.fusion,
        vars=plan.vars,
        has_output=plan.has_output,
        units=tuple(
            ExplainedUnit(
                id=unit_id,
                kind=units[unit_id].kind,
                waits_for=units[unit_id].upstream,
                starts_on_any=units[unit_id].starts_on_any,
                beside=tuple(other for other in order.units if other in beside[unit_id] - order.around(unit_id)),
                steps=tuple(steps[step_id] for step_id in order.steps if homes[step_id] == unit_id),
            )
            for unit_id in order.units
        ),
    )


def _step(step: Step, home: str, order: Order, task: Task) -> ExplainedStep:
    return ExplainedStep(
        id=step.id,
        type=step.type,
        available=STEP_TYPES[step.type].available,
        airflow_task=home,
        join=step.join,
        after=order.after(step.id),
        beside=order.beside(step.id),
        ways=tuple(Way(edge.kind, edge.target, _conditions(step, edge.kind, edge.target)) for edge in step.edges),
        retry=step.retry,
        timeout_seconds=step.timeout_seconds,
        on_error=step.on_error,
        inferred=_inferred(step),
        body=tuple((inner.id, inner.type) for inner in task.body),
    )


def _inferred(step: Step) -> tuple[str, ...]:
    schema: Any = step.config.get("output_schema")
    return tuple(schema["properties"]) if step.config.get("schema_inferred") else ()


def _conditions(step: Step, kind: EdgeKind, target: str) -> tuple[str, ...]:
    """Return what chooses an edge, as far as the config says it."""
    if kind == "then":
        conditions: Any = step.config.get("conditions")
        return tuple(str(item["if"]) for item in _objects(conditions) if item.get("then") == target)
    return ()


def _objects(value: Any) -> Sequence[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
