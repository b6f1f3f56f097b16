"""Stage 6, emit: the plan becomes the two files of the artifact.

The DAG file has one fixed shape and holds checked identifiers, numbers and digests only: nothing a tenant wrote may
reach Airflow. Its tag with the plan's digest makes Airflow see a new version where only the plan has changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

from compiler.crons import PRINTED_CRON, PRINTED_ZONE, known_time_zone
from compiler.fields import is_identifier, is_organization
from compiler.pins import pinned_dag_id
from compiler.plan import Plan, Unit, UnitKind, every_step, plan_digest

MAX_ACTIVE_RUNS = 1_000
"""Deferred runs count too, so this is no limit of concurrency; that is enforced before a run is made."""

ZONED = "ZonedCronTimetable"
"""Our timetable for schedules in several time zones; Airflow's own have one."""

OPERATORS: dict[UnitKind, tuple[str, str]] = {
    "map": ("operators.tasks.map", "MapOperator"),
    "segment": ("operators.tasks.segment", "SegmentOperator"),
    "approval": ("operators.tasks.approval", "ApprovalOperator"),
    "wait": ("operators.tasks.wait", "WaitOperator"),
    "workflow": ("operators.tasks.workflow", "WorkflowOperator"),
    "code": ("operators.tasks.code", "CodeOperator"),
    "container": ("operators.tasks.code", "CodeOperator"),
}
"""Kind of a unit -> module and class of the Airflow operator that runs it."""


TIMEOUT_GRACE_SECONDS = 60.0
"""Airflow's time-out of a run is only a net: it ends a run without our code. A deferred task must first get a worker to
end the execution in good order."""


IN_PODS = ("operators.tasks.pod", "PodOperator")
"""Of every unit that has a step in a pod."""


def emit(plan: Plan) -> tuple[dict[str, bytes], str]:
    """Return the artifact's files by name, and the plan's digest."""
    plan_bytes = plan.to_bytes()
    digest = plan_digest(plan_bytes)
    return {f"{plan.dag_id}.py": dag_text(plan, digest).encode(), f"{plan.dag_id}.plan.json": plan_bytes}, digest


def emit_pinned(plan: Plan, plan_bytes: bytes, number: int) -> dict[str, bytes]:
    """Return the files of a version that calls pin: a DAG of its own, which nothing but a call starts.

    :param plan_bytes: The plan as it was published.
    :param number: Of the version.
    """
    dag_id = pinned_dag_id(plan.dag_id, number)
    text = dag_text(plan, plan_digest(plan_bytes), number=number)
    return {f"{dag_id}.py": text.encode(), f"{dag_id}.plan.json": plan_bytes}


def dag_text(plan: Plan, digest: str, *, number: int | None = None) -> str:
    """Return the DAG file of a plan.

    :param number: Of the version, for its own DAG; None for the workflow's.
    :raises ValueError: An identifier is not of its checked form; the earlier stages let no such plan through.
    """
    _require_checked(plan)
    following: dict[str, list[str]] = {}
    names = {unit.id: _variable(unit) for unit in plan.units}
    for unit in plan.units:
        for upstream in unit.upstream:
            following.setdefault(upstream, []).append(names[unit.id])
    edges = [(names[unit.id], following[unit.id]) for unit in plan.units if unit.id in following]
    operators = {unit.id: _operator(plan, unit) for unit in plan.units}
    imports = set(operators.values())
    schedule = _schedule(plan) if number is None else Schedule(None, ())
    sdk_names = {"DAG", "Param"}
    if schedule.kind == ZONED:
        imports.add(("operators.tasks.timetable", ZONED))
    elif schedule.kind is not None:
        sdk_names.add(schedule.kind)
    return _template().render(
        plan=plan,
        dag_id=plan.dag_id if number is None else pinned_dag_id(plan.dag_id, number),
        digest=digest,
        sdk_names=sorted(sdk_names),
        imports=sorted(imports),
        operators={unit_id: name for unit_id, (_, name) in operators.items()},
        edges=edges,
        schedule=schedule,
        max_active_runs=MAX_ACTIVE_RUNS,
        timeout_grace=TIMEOUT_GRACE_SECONDS,
    )


def _operator(plan: Plan, unit: Unit) -> tuple[str, str]:
    """Return module and class of the operator that runs a unit."""
    steps = (step for step in plan.steps if step.id in unit.steps)
    return IN_PODS if any(step.pod is not None for step in every_step(steps)) else OPERATORS[unit.kind]


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a DAG runs by itself: Airflow's class for it (None: never), and cron expressions with their time zones."""

    kind: str | None
    times: tuple[tuple[str, str], ...]


def _schedule(plan: Plan) -> Schedule:
    """Return the schedule of a plan; its parts are checked once more, since they go into the file.

    :raises ValueError: One is not of its printed form.
    """
    configs: list[dict[str, Any]] = [trigger.config for trigger in plan.triggers if trigger.type == "schedule"]
    times = tuple((str(config["cron"]), str(config["timezone"])) for config in configs)
    for cron, zone in times:
        if PRINTED_CRON.fullmatch(cron) is None:
            raise ValueError(f"a DAG file may hold printed cron expressions only; got {cron!r}")
        if PRINTED_ZONE.fullmatch(zone) is None or known_time_zone(zone) is None:
            raise ValueError(f"a DAG file may hold known time zones only; got {zone!r}")
    if len({zone for _, zone in times}) > 1:
        return Schedule(ZONED, times)
    kinds = (None, "CronTriggerTimetable", "MultipleCronTriggerTimetable")
    return Schedule(kinds[min(len(times), 2)], times)


def _require_checked(plan: Plan) -> None:
    """Look at everything once more that goes into the file: it is run by Airflow with all its rights."""
    ids = [plan.workflow_id, *(step for unit in plan.units for step in unit.steps)]
    ids += [unit.id.removeprefix("segment.") for unit in plan.units]
    unsafe = [name for name in ids if not is_identifier(name)]
    if unsafe or not is_organization(plan.organization):
        raise ValueError(f"a DAG file may hold checked identifiers only; got {(unsafe or [plan.organization])[0]!r}")


def _variable(unit: Unit) -> str:
    """Return the Python variable of a unit; the prefix keeps ids such as ``class`` or ``timedelta`` harmless."""
    return "t_" + unit.id if "." not in unit.id else "s_" + unit.id.removeprefix("segment.")


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(  # noqa: S701 - it makes Python, not HTML, and of checked identifiers only
        undefined=StrictUndefined, keep_trailing_newline=False
    )
    environment.filters.update(variable=_variable, number=_number)
    text = (Path(__file__).parent / "templates" / "dag.py.jinja").read_text(encoding="utf-8")
    return environment.from_string(text)
