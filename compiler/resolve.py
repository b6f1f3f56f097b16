"""Stage 2, resolve: the JSON object is read with the format's models, piece by piece.

A piece that is malformed is reported and left out; the others are still read and checked, so that one slip hides no
other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from compiler.fields import RESERVED_IDS, is_identifier
from compiler.model import POD_FIELDS, UNAVAILABLE_SETTINGS, TaskFields, TriggerFields, WorkflowFields, is_set
from compiler.problems import Parts, Problems, listed, shown
from compiler.steps import STEP_TYPES, StepConfig
from compiler.steps.map import MapConfig
from compiler.triggers import TRIGGER_TYPES, ScheduleConfig, TriggerConfig, WebhookConfig
from compiler.validation import did_you_mean, validate
from compiler.webhook_auth import auth_faults

MAX_TASKS = 1_000
MAX_TRIGGERS = 100
_ID_RULE = "must be a-z, then a-z, 0-9 and _, at most 63 characters"


@dataclass(slots=True)
class Task:
    """A task as far as it could be read.

    :param parts: Its path in the document.
    :param raw: As it stands there.
    :param fields: What all tasks have; None where that is malformed.
    :param kind: The config model of its type; None for an unknown type.
    :param config: Its config; None where that is malformed.
    :param body: The tasks of a ``map``.
    """

    id: str
    parts: Parts
    raw: dict[str, Any]
    fields: TaskFields | None
    kind: type[StepConfig] | None
    config: StepConfig | None
    body: list[Task] = field(default_factory=list)

    @property
    def type(self) -> str:
        """The type as the document has it."""
        return str(self.raw.get("type"))

    @property
    def raw_config(self) -> dict[str, Any]:
        """The config as it stands in the document; empty where it is no object."""
        config = self.raw.get("config")
        return config if isinstance(config, dict) else {}


@dataclass(slots=True)
class Trigger:
    """A trigger as far as it could be read; ``parts`` is its path in the document."""

    type: str
    config: TriggerConfig | None
    parts: Parts = ()


@dataclass(slots=True)
class Workflow:
    """A workflow as far as it could be read. ``fields`` is None where the top level is malformed."""

    document: dict[str, Any]
    fields: WorkflowFields | None
    triggers: list[Trigger]
    tasks: list[Task]


def resolve(document: dict[str, Any], problems: Problems) -> Workflow:
    """Read a workflow with the models of the format."""
    fields = validate(WorkflowFields, document, (), problems)
    _check_identifier(document.get("id"), ("id",), problems)
    triggers = _read_triggers(document, problems)
    tasks = _read_tasks(document.get("tasks"), ("tasks",), problems)
    _check_task_ids(tasks, problems)
    if fields is not None:
        _check_vars(fields.vars, problems)
        for name in UNAVAILABLE_SETTINGS:
            if is_set(fields.settings, name):
                problems.unavailable("unavailable_feature", ("settings", name), f"`{name}` is not available yet.")
    return Workflow(document, fields, triggers, tasks)


def every_task(tasks: list[Task]) -> list[Task]:
    """Return the tasks and those of their bodies, in document order."""
    return [each for task in tasks for each in (task, *every_task(task.body))]


def _check_identifier(value: Any, parts: Parts, problems: Problems, task_id: str | None = None) -> None:
    if isinstance(value, str) and not is_identifier(value):
        problems.error("unsafe_identifier", parts, f"An id {_ID_RULE}; got {shown(value)}.", task_id=task_id)


def _check_vars(names: list[str], problems: Problems) -> None:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if not (name.isascii() and name.isidentifier()) or name.startswith("__") or len(name) > 63:
            message = f"A variable's name must be letters, digits and _, at most 63; got {shown(name)}."
            problems.error("invalid_field", ("vars", index), message)
        elif name in seen:
            problems.error("invalid_field", ("vars", index), f"Each of `vars` must stand once; '{name}' stands twice.")
        seen.add(name)


def _read_triggers(document: dict[str, Any], problems: Problems) -> list[Trigger]:
    """Read ``trigger`` or ``triggers``: one of them, not both."""
    one, many = document.get("trigger"), document.get("triggers")
    if one is not None and many is not None:
        problems.error("invalid_field", ("triggers",), "A workflow needs either `trigger` or `triggers`, not both.")
    if one is None and many is None:
        problems.error("missing_field", (), "A workflow needs `trigger` or `triggers`.")
    triggers = [_read_trigger(one, ("trigger",), problems)] if one is not None else []
    if isinstance(many, list) and len(many) > MAX_TRIGGERS:
        message = f"A workflow may have {MAX_TRIGGERS} triggers; this one has {len(many):,}."
        problems.error("limit_exceeded", ("triggers",), message)
    elif isinstance(many, list):
        triggers += [_read_trigger(item, ("triggers", index), problems) for index, item in enumerate(many)]
        _check_webhooks_differ(triggers[-len(many) :] if many else [], problems)
        _check_schedules_differ(triggers, problems)
    return triggers


def _read_trigger(raw: Any, parts: Parts, problems: Problems) -> Trigger:
    fields = validate(TriggerFields, raw, parts, problems)
    if fields is None:
        return Trigger("", None, parts)
    model = TRIGGER_TYPES.get(fields.type)
    if model is None:
        suggestion = problems.closest(fields.type, TRIGGER_TYPES)
        message = f"`type` must be one of {listed(list(TRIGGER_TYPES))}; got {shown(fields.type)}."
        problems.error("unknown_type", (*parts, "type"), message + did_you_mean(suggestion), suggestion=suggestion)
        return Trigger(fields.type, None, parts)
    if not model.available:
        problems.unavailable(
            "unavailable_type", (*parts, "type"), f"Triggers of type '{fields.type}' are not available yet."
        )
    has_config = isinstance(raw, dict) and "config" in raw
    config = validate(model, fields.config, (*parts, "config") if has_config else parts, problems)
    if isinstance(config, WebhookConfig):
        _check_webhook_features(config, (*parts, "config"), problems)
    return Trigger(fields.type, config, parts)


def _check_webhook_features(config: WebhookConfig, parts: Parts, problems: Problems) -> None:
    for code, key, message in auth_faults(config.auth, config.method):
        problems.error(code, (*parts, "auth") if key is None else (*parts, "auth", key), message)


def _check_webhooks_differ(triggers: list[Trigger], problems: Problems) -> None:
    seen: set[tuple[str, str]] = set()
    for index, trigger in enumerate(triggers):
        if isinstance(trigger.config, WebhookConfig):
            address = (trigger.config.method, trigger.config.path)
            if address in seen:
                message = "Path and method of a webhook must be unique; an earlier trigger has the same."
                problems.error("invalid_trigger", ("triggers", index, "config", "path"), message)
            seen.add(address)


def _check_schedules_differ(triggers: list[Trigger], problems: Problems) -> None:
    """Airflow makes one run a moment: of two equal schedules the second would never start anything."""
    seen: set[tuple[str, str]] = set()
    for trigger in triggers:
        if isinstance(trigger.config, ScheduleConfig):
            times = (trigger.config.cron, trigger.config.timezone)
            if times in seen:
                message = "Times of a schedule must be unique in a workflow; an earlier trigger has the same."
                problems.error("invalid_trigger", (*trigger.parts, "config", "cron"), message)
            seen.add(times)


def _read_tasks(raw: Any, parts: Parts, problems: Problems) -> list[Task]:
    """Read a list of tasks; what is no task with an id is reported and left out."""
    if not isinstance(raw, list):
        return []
    if len(raw) > MAX_TASKS:
        problems.error("limit_exceeded", parts, f"A workflow may have {MAX_TASKS:,} tasks; this one has {len(raw):,}.")
        return []
    tasks = (_read_task(item, (*parts, index), problems) for index, item in enumerate(raw))
    return [task for task in tasks if task is not None]


def _read_task(raw: Any, parts: Parts, problems: Problems) -> Task | None:
    task_id = raw.get("id") if isinstance(raw, dict) else None
    named = task_id if isinstance(task_id, str) else None
    fields = validate(TaskFields, raw, parts, problems, named)
    if named is None:
        return None
    kind = _kind_of(raw, parts, problems, named)
    config = _read_config(raw, kind, parts, problems, named)
    task = Task(named, parts, raw, fields, kind, config)
    if kind is MapConfig:
        task.body = _read_tasks(task.raw_config.get("tasks"), (*parts, "config", "tasks"), problems)
    if fields is not None:
        _check_task_fields(task, fields, problems)
    return task


def _kind_of(raw: dict[str, Any], parts: Parts, problems: Problems, task_id: str) -> type[StepConfig] | None:
    name = raw.get("type")
    if not isinstance(name, str):
        return None
    kind = STEP_TYPES.get(name)
    at = (*parts, "type")
    if kind is None:
        suggestion = problems.closest(name, STEP_TYPES)
        message = f"`type` must be a task type; got {shown(name)}.{did_you_mean(suggestion)}"
        problems.error("unknown_type", at, message, task_id=task_id, suggestion=suggestion)
    elif not kind.available:
        problems.unavailable("unavailable_type", at, f"Tasks of type '{name}' are not available yet.", task_id=task_id)
    return kind


def _read_config(
    raw: dict[str, Any], kind: type[StepConfig] | None, parts: Parts, problems: Problems, task_id: str
) -> StepConfig | None:
    value = raw.get("config", {})
    if kind is None or not isinstance(value, dict):
        return None
    return validate(kind, value, (*parts, "config") if "config" in raw else parts, problems, task_id)


def _check_task_fields(task: Task, fields: TaskFields, problems: Problems) -> None:
    """Check the task-level fields that depend on the type."""
    if fields.cache is not None:
        problems.unavailable(
            "unavailable_feature", (*task.parts, "cache"), "`cache` is not available yet.", task_id=task.id
        )
    if task.kind is None:
        return
    if fields.retry is not None and not task.kind.retryable:
        message = f"`retry` must not stand on a task of type '{task.type}': it calls nothing that fails by chance."
        problems.error("invalid_config", (*task.parts, "retry"), message, task_id=task.id)
    for name in POD_FIELDS:
        if is_set(fields, name) and not task.kind.in_pod:
            message = f"`{name}` belongs to tasks of type 'code' and 'container', not to '{task.type}'."
            problems.error("invalid_config", (*task.parts, name), message, task_id=task.id)
    if task.kind.available and task.config is not None:
        for name in task.kind.unavailable:
            if is_set(task.config, name):
                message = f"`{name}` is not available yet; leave it out."
                problems.unavailable("unavailable_feature", (*task.parts, "config", name), message, task_id=task.id)
    for found in task.config.task_problems(fields) if task.config is not None else ():
        parts = task.parts if found.field is None else (*task.parts, found.field)
        problems.error(found.code, parts, found.message, task_id=task.id)


def _check_task_ids(tasks: list[Task], problems: Problems) -> None:
    """Check that task ids are safe, not reserved, and unique, bodies included."""
    seen: set[str] = set()
    everyone = every_task(tasks)
    if len(everyone) > MAX_TASKS and len(tasks) <= MAX_TASKS:
        problems.error("limit_exceeded", ("tasks",), f"A workflow may have {MAX_TASKS:,} tasks, with those of maps.")
    for task in everyone:
        parts = (*task.parts, "id")
        _check_identifier(task.id, parts, problems, task.id)
        if task.id in RESERVED_IDS:
            message = f"'{task.id}' means something else in expressions; choose another id."
            problems.error("unsafe_identifier", parts, message, task_id=task.id)
        if task.id in seen:
            problems.error(
                "duplicate_id", parts, f"Task ids must be unique; '{task.id}' stands twice.", task_id=task.id
            )
        seen.add(task.id)
