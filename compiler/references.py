"""Checks the expressions: that they parse, and that what they refer to exists, is upstream and is settled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from compiler.expressions import (
    EvaluationError,
    ExpressionError,
    Reference,
    Template,
    Use,
    has_expression,
    parse,
    render,
)
from compiler.problems import Parts, Problems, listed, shown
from compiler.resolve import Task, Workflow
from compiler.scope import Level
from compiler.steps import Single
from compiler.validation import did_you_mean

NAMES = ("input", "trigger", "execution", "vars")
_TASK_KEYS = frozenset({"output", "status", "error"})
_EXECUTION_KEYS = frozenset({"id", "workflow_id", "version", "started_at"})
_TRIGGER_KEYS = frozenset({"type", "method", "path", "headers", "query"})
_KEYS_BY_TRIGGER = {
    "webhook": _TRIGGER_KEYS,
    "event": _TRIGGER_KEYS | {"event"},
    "schedule": _TRIGGER_KEYS | {"scheduled_at"},
}
"""Trigger type -> the keys that ``trigger`` has; of other types nothing is promised."""
_EVENT_KEYS = frozenset({"id", "source", "type", "subject", "time"})
_AT_START = ("input", "trigger")
"""The names there are when an execution is accepted."""
_ERROR_KEYS = frozenset({"code", "message"})


@dataclass(frozen=True, slots=True)
class _Place:
    """A string with expressions: where it stands, and who evaluates it (None: after all tasks of the level).

    :param trigger_types: Set where the expression is evaluated before anything runs, when only ``input`` and
        ``trigger`` are there: by which types of triggers.
    """

    parts: Parts
    level: Level
    reader: int | None
    task_id: str | None
    trigger_types: tuple[str, ...] | None = None


@dataclass(slots=True)
class Expressions:
    """Checks the expressions of one workflow and keeps how they use the outputs of its tasks.

    :param tasks: Every task by its id, those of maps included.
    :param uses: Every use that was found, in the order of the tasks, then those of ``output``.
    """

    workflow: Workflow
    tasks: dict[str, Task]
    problems: Problems
    uses: list[Use] = field(default_factory=list)
    _templates: dict[str, Template | ExpressionError] = field(default_factory=dict)

    def check_config(self, level: Level, reader: int) -> None:
        """Check every template in a task's config."""
        task = level.tasks[reader]
        if task.kind is None:
            return
        config = task.raw_config
        singles = {single.parts: single for single in task.kind.single_expressions(config)}
        for key, value in config.items():
            if key in task.kind.verbatim:
                continue
            for parts, text in strings(value, (key,)):
                self._check_text(
                    text, _Place((*task.parts, "config", *parts), level, reader, task.id), singles.get(parts)
                )
        for single in singles.values():
            if not isinstance(single.value, str) or not has_expression(single.value):
                self._report_not_single((*task.parts, "config", *single.parts), single.value, task.id)

    def check_value(self, value: Any, parts: Parts, level: Level) -> None:
        """Check every template in a value that is evaluated after all tasks of a level."""
        for inner, text in strings(value, parts):
            self._check_text(text, _Place(inner, level, None, None), None)

    def check_result(self, value: Any, parts: Parts, level: Level, task_id: str) -> None:
        """Check the ``result`` of a map: one expression, evaluated after the tasks of its body."""
        if isinstance(value, str) and has_expression(value):
            self._check_text(value, _Place(parts, level, None, task_id), Single((), value))
        else:
            self._report_not_single(parts, value, task_id)

    def check_at_start(self, value: Any, parts: Parts, level: Level, trigger_types: tuple[str, ...]) -> None:
        """Check one expression that is evaluated when an execution is accepted.

        :param trigger_types: The triggers it is evaluated for.
        """
        if isinstance(value, str) and has_expression(value):
            self._check_text(value, _Place(parts, level, None, None, trigger_types), Single((), value))
        else:
            self._report_not_single(parts, value, None)

    def _report_not_single(self, parts: Parts, value: Any, task_id: str | None) -> None:
        name = next(part for part in reversed(parts) if isinstance(part, str))
        suggestion = (
            f"{{{{ {value} }}}}" if isinstance(value, str) and 0 < len(value) <= 80 and "{" not in value else None
        )
        message = (
            f"`{name}` must be one expression and nothing else, like '{{{{ input.x == 1 }}}}'; got {shown(value)}."
        )
        self.problems.error("invalid_config", parts, message, task_id=task_id, suggestion=suggestion)

    def _check_text(self, text: str, place: _Place, single: Single | None) -> None:
        if not has_expression(text):
            return
        template = self._template(text)
        if isinstance(template, ExpressionError):
            self._report(template, place)
            return
        for error in template.problems:
            self._report(error, place)
        if single is not None and not template.is_expression:
            self._report_not_single(place.parts, text, place.task_id)
        elif single is not None and single.kinds and template.kind not in (None, *single.kinds):
            message = (
                f"`{place.parts[-1]}` must give a {single.kinds[0]}; {shown(text)} gives one of type {template.kind}."
            )
            self.problems.error("invalid_config", place.parts, message, task_id=place.task_id)
        elif single is not None and single.rule_for is not None and not template.references and not template.problems:
            self._check_constant(text, place, single.rule_for)
        self.uses.extend(template.condition_uses if single is not None and single.is_condition else template.uses)
        for reference in template.references:
            _ReferenceCheck(self, reference, place).run()

    def _check_constant(self, text: str, place: _Place, rule_for: Callable[[Any], str | None]) -> None:
        """Check the value of an expression that reads nothing: it is the same in every run."""
        try:
            rule = rule_for(render(text, {}))
        except EvaluationError as error:
            rule = f"must have a value: {error}"
        if rule is not None:
            message = f"`{place.parts[-1]}` {rule}; got {shown(text)}."
            self.problems.error("invalid_config", place.parts, message, task_id=place.task_id)

    def _template(self, text: str) -> Template | ExpressionError:
        if text not in self._templates:
            try:
                self._templates[text] = parse(text)
            except ExpressionError as error:
                self._templates[text] = error
        return self._templates[text]

    def _report(self, error: ExpressionError, place: _Place) -> None:
        message = error.message[:1].upper() + error.message[1:]
        message = message if message.endswith((".", "?", "!")) else message + "."
        self.problems.error(error.code, place.parts, message, task_id=place.task_id, suggestion=error.suggestion)


@dataclass(slots=True)
class _ReferenceCheck:
    """The check of one reference of one string."""

    owner: Expressions
    reference: Reference
    place: _Place

    def run(self) -> None:
        root = self.reference.root
        if self.place.trigger_types is not None and root not in _AT_START:
            suggestion = self.owner.problems.closest(root, _AT_START)
            self._undefined(
                f"This is evaluated before anything runs: only input and trigger are there; got '{root}'.", suggestion
            )
        elif root in NAMES:
            self._check_name(root)
        elif root in self.place.level.items():
            return
        elif root in self.owner.tasks:
            self._check_task(root)
        elif root == "item":
            self._undefined("`item` exists only in the tasks of a `map`.", None)
        else:
            known = [*NAMES, *self.place.level.items(), *self.place.level.names()]
            suggestion = "none" if root == "null" else self.owner.problems.closest(root, known)
            self._undefined(
                f"An expression may name input, trigger, execution, vars and tasks of this workflow; got '{root}'.",
                suggestion,
            )

    def _check_name(self, root: str) -> None:
        path = self.reference.path
        fields = self.owner.workflow.fields
        if root == "vars" and fields is not None:
            self._check_variable(frozenset(fields.vars))
        elif root == "execution":
            self._check_key("execution", _EXECUTION_KEYS, path)
        elif root == "trigger":
            self._check_trigger(path)
        elif root == "input" and fields is not None and fields.input is not None:
            self._check_input(fields.input)

    def _check_trigger(self, path: tuple[str | int, ...]) -> None:
        types = self.place.trigger_types
        if types is None:
            types = tuple(trigger.type for trigger in self.owner.workflow.triggers)
        if not all(kind in _KEYS_BY_TRIGGER for kind in types):
            return
        self._check_key("trigger", frozenset[str]().union(*(_KEYS_BY_TRIGGER[kind] for kind in types)), path)
        if path and path[0] == "event":
            self._check_key("trigger.event", _EVENT_KEYS, path[1:])

    def _check_variable(self, known: frozenset[str]) -> None:
        """Check that a variable is listed; one that is not has no value, so ``default`` does not excuse it."""
        key = self.reference.path[0] if self.reference.path else None
        if isinstance(key, str) and key not in known:
            message = f"A variable must be listed in `vars` of the workflow; got 'vars.{key}'."
            self._undefined(message, self.owner.problems.closest(key, known))

    def _check_input(self, schema: Any) -> None:
        """Follow the path through the schema as long as that forbids other keys."""
        name = "input"
        for depth, key in enumerate(self.reference.path):
            if not isinstance(schema, dict) or not isinstance(key, str):
                return
            properties = schema.get("properties", {})
            closed = schema.get("additionalProperties") is False and "patternProperties" not in schema
            if closed and isinstance(properties, dict):
                self._check_key(name, frozenset(properties), self.reference.path[depth : depth + 1])
            schema = properties.get(key) if isinstance(properties, dict) else None
            name = f"{name}.{key}"

    def _check_task(self, root: str) -> None:
        path = self.reference.path
        if not path or path[0] not in _TASK_KEYS:
            key = path[0] if path and isinstance(path[0], str) else None
            suggestion = f"{root}.output.{key}" if key else f"{root}.output"
            self._undefined(f"A task has output, status and error; got '{root}{'.' + key if key else ''}'.", suggestion)
            return
        self._check_standing(root)
        if path[0] == "error":
            self._check_key(f"{root}.error", _ERROR_KEYS, path[1:])
        elif path[0] == "output":
            task = self.owner.tasks[root]
            keys = task.kind.output_keys(task.raw_config) if task.kind is not None and task.config is not None else None
            if keys is not None:
                self._check_key(f"{root}.output", keys, path[1:])

    def _check_standing(self, root: str) -> None:
        standing = self.place.level.standing(root, self.place.reader)
        problems = self.owner.problems
        if standing == "racy":
            message = (
                f"This runs at the first taken edge, so '{root}' may not be done yet: its output is then null. "
                "Use `join: all`, or read only what every way here has passed."
            )
            problems.warning("racy_reference", self.place.parts, message, task_id=self.place.task_id)
        elif standing in ("not_upstream", "unknown"):
            message = f"An expression may read tasks that come before its own; '{root}' does not. Lead an edge from it."
            problems.error("not_upstream", self.place.parts, message, task_id=self.place.task_id)

    def _check_key(self, name: str, known: frozenset[str], path: tuple[str | int, ...]) -> None:
        """Check the first key of a path where all the keys there can be are known."""
        key = path[0] if path else None
        if not isinstance(key, str) or key in known or self.reference.optional:
            return
        suggestion = self.owner.problems.closest(key, known)
        has = f"has only {listed(sorted(known))}" if known else "has no keys"
        has = has if len(has) <= 200 else "has other keys"
        self._undefined(f"`{name}` {has}; got '{key}'.", suggestion)

    def _undefined(self, message: str, suggestion: str | None) -> None:
        self.owner.problems.error(
            "undefined_reference",
            self.place.parts,
            message + did_you_mean(suggestion),
            task_id=self.place.task_id,
            suggestion=suggestion,
        )


def strings(value: Any, parts: Parts) -> Iterator[tuple[Parts, str]]:
    """Yield every string in a JSON value with its path; keys are no templates."""
    if isinstance(value, str):
        yield parts, value
    elif isinstance(value, dict):
        for key, child in value.items():
            yield from strings(child, (*parts, key))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from strings(child, (*parts, index))
