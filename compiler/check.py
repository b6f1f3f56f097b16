"""Stage 3, check: what holds between the parts of a workflow: edges, cycles, expressions, schemas."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from compiler.expressions import Use
from compiler.images import canonical_image
from compiler.plan import Edge, EdgeKind
from compiler.problems import Parts, Problems, listed, shown
from compiler.references import Expressions
from compiler.resolve import Task, Workflow, every_task
from compiler.schemas import check_schema, describes_object, mismatch
from compiler.scope import Level
from compiler.steps import StepConfig
from compiler.steps.code import CodeConfig
from compiler.steps.conditional import ConditionalConfig
from compiler.steps.container import ContainerConfig
from compiler.steps.map import MapConfig
from compiler.triggers import EventConfig, ScheduleConfig
from compiler.validation import did_you_mean

Isolation = Literal["process", "kubernetes"]


@dataclass(frozen=True, slots=True)
class CheckedWorkflow:
    """A workflow whose parts fit, as far as the problems do not say otherwise.

    :param level: The workflow's own tasks with their edges and graph.
    :param uses: How expressions use the outputs of tasks.
    """

    workflow: Workflow
    level: Level
    uses: tuple[Use, ...]


def check(workflow: Workflow, problems: Problems, *, isolation: Isolation) -> CheckedWorkflow:
    """Check everything that needs more than one part of a workflow."""
    everyone = every_task(workflow.tasks)
    expressions = Expressions(workflow, {task.id: task for task in reversed(everyone)}, problems)
    level = _check_level(workflow.tasks, None, None, expressions, problems)
    if "output" in workflow.document:
        expressions.check_value(workflow.document["output"], ("output",), level)
    _check_start(workflow, expressions, level)
    _check_schemas(workflow, everyone, problems)
    for task in everyone:
        _check_task(task, problems)
        if task.kind is not None and task.kind.in_pod:
            _check_isolation(task, task.kind, problems, isolation)
        if task.kind is MapConfig:
            _check_map(task, expressions.tasks, problems)
    return CheckedWorkflow(workflow, level, tuple(expressions.uses))


def _check_start(workflow: Workflow, expressions: Expressions, level: Level) -> None:
    """Check the expressions that are evaluated when an execution is accepted."""
    for trigger in workflow.triggers:
        if isinstance(trigger.config, EventConfig) and trigger.config.filter is not None:
            expressions.check_at_start(trigger.config.filter, (*trigger.parts, "config", "filter"), level, ("event",))
    concurrency = workflow.fields.settings.concurrency if workflow.fields is not None else None
    if concurrency is not None and concurrency.key is not None:
        types = tuple(trigger.type for trigger in workflow.triggers)
        expressions.check_at_start(concurrency.key, ("settings", "concurrency", "key"), level, types)


def _check_level(
    tasks: list[Task], outer: tuple[Level, int] | None, item: str | None, expressions: Expressions, problems: Problems
) -> Level:
    """Check a list of tasks that name each other, and the bodies of its maps."""
    ids = {task.id for task in tasks}
    edges: list[tuple[Edge, ...]] = []
    broken = 0
    for number, task in enumerate(tasks):
        kept, is_broken = _check_edges(task, ids, problems)
        edges.append(kept)
        # A task that could not be read may have meant an edge too.
        broken |= (is_broken or task.fields is None or task.config is None) << number
    level = Level(tasks, edges, broken, outer, item)
    _check_cycles(level, problems)
    for number, task in enumerate(tasks):
        if task.kind is MapConfig:
            name = MapConfig.item_name(task.raw_config)
            level.bodies[number] = _check_level(task.body, (level, number), name, expressions, problems)
    for number, task in enumerate(tasks):
        expressions.check_config(level, number)
        if number in level.bodies and task.raw_config.get("result") is not None:
            parts = (*task.parts, "config", "result")
            expressions.check_result(task.raw_config["result"], parts, level.bodies[number], task.id)
    return level


@dataclass(frozen=True, slots=True)
class _FoundEdge:
    kind: EdgeKind
    parts: Parts
    target: str


def _edges_of(task: Task) -> Iterator[_FoundEdge]:
    """Yield the edges of a task as they stand in the document; what is no id is passed over."""
    for key, value in task.raw.items():
        if key == "next" and isinstance(value, list):
            for index, target in enumerate(value):
                if isinstance(target, str):
                    yield _FoundEdge("next", ("next", index), target)
        elif key == "config" and isinstance(value, dict) and task.kind is not None:
            for choice in task.kind.choices(value):
                yield _FoundEdge(choice.kind, ("config", *choice.parts), choice.target)
        elif key == "on_error" and isinstance(value, dict) and isinstance(value.get("goto"), str):
            yield _FoundEdge("goto", ("on_error", "goto"), value["goto"])


def _check_edges(task: Task, ids: set[str], problems: Problems) -> tuple[tuple[Edge, ...], bool]:
    """Check what a task's edges name.

    :return: The edges without duplicates, and whether one of them names no task.
    """
    found = list(_edges_of(task))
    after_success = {edge.target for edge in found if edge.kind == "next"}
    kept: dict[tuple[str, str], Edge] = {}
    is_broken = False
    for edge in found:
        parts = (*task.parts, *edge.parts)
        if edge.target not in ids:
            is_broken = True
            _report_unknown(edge, parts, task, ids, problems)
            continue
        if edge.kind != "next" and edge.target in after_success:
            message = f"'{edge.target}' must not be in `next` and also in `{_key(edge)}`: leave it out of one of them."
            problems.error("invalid_config", parts, message, task_id=task.id)
        # A conditional chooses one target, however many of its conditions name it.
        way = "chosen" if edge.kind in ("then", "default") else edge.kind
        kept.setdefault((way, edge.target), Edge(target=edge.target, kind=edge.kind))
    return tuple(kept.values()), is_broken


def _key(edge: _FoundEdge) -> str:
    return str(next(part for part in reversed(edge.parts) if isinstance(part, str)))


def _report_unknown(edge: _FoundEdge, parts: Parts, task: Task, ids: set[str], problems: Problems) -> None:
    suggestion = problems.closest(edge.target, ids, but=task.id)
    message = f"`{_key(edge)}` must name a task of this workflow; got {shown(edge.target)}.{did_you_mean(suggestion)}"
    problems.error("unknown_task", parts, message, task_id=task.id, suggestion=suggestion)


def _check_cycles(level: Level, problems: Problems) -> None:
    for group in level.graph.cycles():
        first = level.tasks[group[0]]
        names = listed([level.tasks[number].id for number in group])
        message = f"Tasks must not lead back to themselves; {names} {'does' if len(group) == 1 else 'do'}. Cut an edge."
        problems.error("cycle", first.parts, message, task_id=first.id)
    for number in level.graph.only_behind_cycles():
        task = level.tasks[number]
        message = f"'{task.id}' can be reached only through a cycle, so it would never start."
        problems.error("unreachable_task", task.parts, message, task_id=task.id)


def _check_schemas(workflow: Workflow, everyone: list[Task], problems: Problems) -> None:
    schema = workflow.document.get("input")
    if isinstance(schema, dict) and check_schema(schema, ("input",), "invalid_field", problems):
        _check_scheduled_inputs(workflow, schema, problems)
    for task in everyone:
        schema = task.raw_config.get("output_schema")
        if isinstance(schema, dict) and task.kind is not None and "output_schema" in task.kind.model_fields:
            parts = (*task.parts, "config", "output_schema")
            if check_schema(schema, parts, "invalid_config", problems, task.id) and not describes_object(schema):
                message = "An `output_schema` must describe an object; give it `type: object`."
                problems.error("invalid_config", parts, message, task_id=task.id)


def _check_scheduled_inputs(workflow: Workflow, schema: dict[str, Any], problems: Problems) -> None:
    """Check what schedules start executions with: nobody is there to be told when they start."""
    for trigger in workflow.triggers:
        if isinstance(trigger.config, ScheduleConfig):
            problem = mismatch(schema, trigger.config.input)
            if problem is not None:
                given = ("config", "input") if "input" in trigger.config.model_fields_set else ("config",)
                inner, reason = problem
                message = f"The `input` of a schedule must match the workflow's `input` schema: {reason}."
                problems.error("invalid_trigger", (*trigger.parts, *given, *inner), message)


def _check_task(task: Task, problems: Problems) -> None:
    """Check the rules of single types."""
    parts = (*task.parts, "config")
    if isinstance(task.config, ConditionalConfig) and task.config.default is None:
        message = "Without `default` no branch is taken where no condition is true."
        problems.warning("no_default_branch", parts, message, task_id=task.id)


def _check_map(task: Task, known: Container[str], problems: Problems) -> None:
    """Check what a map's item is called, and that no map with barriers is inside of another."""
    name = task.raw_config.get("as")
    if isinstance(name, str) and name in known:
        message = f"`as` must not be the id of a task, which the body could then not read; got '{name}'. Rename one."
        problems.error("invalid_config", (*task.parts, "config", "as"), message, task_id=task.id)
    for inner in every_task(task.body):
        if inner.kind is MapConfig and _has_barriers(inner.body):
            message = f"A map inside of a map must have light steps only; '{inner.id}' has others."
            problems.error("nested_map", (*inner.parts, "type"), message, task_id=inner.id)


def _check_isolation(task: Task, kind: type[StepConfig], problems: Problems, isolation: Isolation) -> None:
    """Check whether tenant code can run where the plan is for."""
    at = (*task.parts, "type")
    if isolation == "kubernetes":
        _check_image(task, problems)
    elif kind is ContainerConfig:
        message = "A container must run in Kubernetes, not in a process. Compile with --isolation kubernetes."
        problems.unavailable("needs_kubernetes", at, message, task_id=task.id)
    elif kind is CodeConfig and task.fields is not None and task.fields.runtime_image is not None:
        message = "An image must run in Kubernetes; a process has this machine's own. Leave `runtime_image` out."
        problems.unavailable("needs_kubernetes", (*task.parts, "runtime_image"), message, task_id=task.id)


def _check_image(task: Task, problems: Problems) -> None:
    image = task.fields.runtime_image if task.fields is not None else None
    if image is not None and canonical_image(image) is None:
        message = f"`runtime_image` must be the name of a container image; got {shown(image)}."
        problems.error("invalid_config", (*task.parts, "runtime_image"), message, task_id=task.id)


def _has_barriers(body: list[Task]) -> bool:
    """Tell whether a map's body has steps that are Airflow tasks of their own; a map of light steps is light."""
    for task in body:
        if task.kind is MapConfig:
            if _has_barriers(task.body):
                return True
        elif task.kind is not None and task.kind.barrier:
            return True
    return False
