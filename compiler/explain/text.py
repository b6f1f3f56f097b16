"""An explanation as a tree of lines for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from compiler.explain.explanation import ExplainedStep, ExplainedUnit, Explanation, Way
from compiler.plan import Retry, Trigger
from compiler.problems import one_line

LONGEST = 100
"""Of a text of the workflow, in characters; the rest is in the file."""
MOST = 8
"""Of the steps that may run beside one."""


def as_text(explanation: Explanation) -> str:
    """Return the tree, with a newline at its end. Texts of the workflow stay within their lines."""
    lines = [f"{explanation.workflow_id}: {_said(explanation.name)} (version {_said(explanation.label)})"]
    lines += [f"  started by {_trigger(trigger)}" for trigger in explanation.triggers]
    lines += _settings(explanation)
    for number, unit in enumerate(explanation.units, 1):
        lines += ["", f"Airflow task {number} of {len(explanation.units)}: {unit.id} ({_contents(unit)})"]
        lines += [f"│ {line}" for line in _unit(unit)]
        lines += _tree(unit.steps)
    return "\n".join(lines) + "\n"


def _settings(explanation: Explanation) -> Iterator[str]:
    if explanation.vars:
        yield f"  reads the variables {', '.join(explanation.vars)}"
    if explanation.timeout_seconds is not None:
        yield f"  may take {_seconds(explanation.timeout_seconds)}"
    if explanation.fusion == "off":
        yield "  fusion is off: each step is an Airflow task"
    yield "  gives its `output`" if explanation.has_output else "  gives the outputs of the tasks without a successor"


def _trigger(trigger: Trigger) -> str:
    config: Any = trigger.config
    if trigger.type == "webhook":
        mode, limit = config["response"]["mode"], config["response"]["timeout_seconds"]
        answers = {"async": "answers at once", "sync": f"answers with the result, within {_seconds(limit)}"}
        answer = answers.get(mode, "calls back with the result")
        return f"webhook {config['method']} /webhook/<organisation>/{config['path']} ({answer})"
    if trigger.type == "schedule":
        return f"schedule '{_said(config['cron'])}' in {_said(config['timezone'])}"
    return f"event '{_said(config['type'])}'" if trigger.type == "event" else f"trigger '{trigger.type}'"


def _contents(unit: ExplainedUnit) -> str:
    if unit.kind != "segment":
        return f"a {unit.kind}, which is a task of its own"
    return f"a segment of {len(unit.steps)} steps" if len(unit.steps) > 1 else "a segment of one step"


def _unit(unit: ExplainedUnit) -> Iterator[str]:
    if not unit.waits_for:
        yield "starts at once"
    elif unit.starts_on_any:
        yield f"starts at the first taken edge from {', '.join(unit.waits_for)}"
    else:
        yield f"waits for {', '.join(unit.waits_for)}"
    if unit.beside:
        yield f"runs beside {_few(unit.beside)}"


def _tree(steps: Sequence[ExplainedStep]) -> Iterator[str]:
    for number, step in enumerate(steps, 1):
        last = number == len(steps)
        later = "" if step.available else "; does not run in this version"
        yield f"{'└' if last else '├'}─ {step.id} ({step.type}{later})"
        yield from (f"{' ' if last else '│'}    {line}" for line in _step(step))


def _step(step: ExplainedStep) -> Iterator[str]:
    if len(step.after) == 1:
        yield f"after {step.after[0]}"
    elif step.after:
        yield f"after {'the first taken of' if step.join == 'any' else 'all of'} {', '.join(step.after)}"
    if step.beside:
        yield f"beside {_few(step.beside)}"
    if step.inferred:
        yield f"answers {', '.join(map(_said, step.inferred))} (inferred from what is read)"
    if step.body:
        yield "for each item " + ", ".join(f"{task_id} ({type_name})" for task_id, type_name in step.body)
    yield from (_way(way, step) for way in step.ways if way.kind != "goto")
    if step.retry.attempts > 1:
        yield _retry(step.retry)
    if step.timeout_seconds is not None:
        yield f"an attempt may take {_seconds(step.timeout_seconds)}"
    if step.on_error == "continue":
        yield "on error: goes on with `next`"
    yield from (f"on error: goes to {way.target}" for way in step.ways if way.kind == "goto")


def _way(way: Way, step: ExplainedStep) -> str:
    if way.kind == "next":
        return f"next {way.target}"
    if way.kind == "default":
        return f"else {way.target}"
    if way.kind == "then":
        return f"if {_either(way.conditions)} then {way.target}"
    return f"{way.kind} -> {way.target}"


def _either(conditions: Iterable[str]) -> str:
    return " or ".join(_said(condition) for condition in conditions)


def _retry(retry: Retry) -> str:
    if retry.backoff_seconds == 0:
        return f"up to {retry.attempts} attempts, at once"
    first = f"up to {retry.attempts} attempts; waits {_seconds(retry.backoff_seconds)}"
    return first if retry.attempts == 2 else f"{first}, doubling up to {_seconds(retry.max_backoff_seconds)}"


def _seconds(seconds: float) -> str:
    """Return a duration in the largest unit that gives a whole number."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MOST])
    return shown if len(names) <= MOST else f"{shown} and {len(names) - MOST} more"


def _said(text: str) -> str:
    line = one_line(text)
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
