"""What has to be pinned before a draft may be tested. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from api.problems import Problem
from compiler.diagnostics import closest
from compiler.plan import Plan, Step, every_step
from compiler.problems import shown
from compiler.validation import did_you_mean
from operators.execution.bodies import task_id

QUIET = frozenset({"ai_inference", "conditional", "transform", "respond", "wait", "workflow", "map", "code"})
"""Types whose steps change nothing outside; whoever adds one that does need not think of this list."""
ATTEMPTS = 100


@dataclass(frozen=True)
class _Found:
    """A step that would run, by the name that it is pinned by."""

    name: str
    step: Step


def check_pins(plan: Plan, pins: Mapping[str, JsonValue], called: Mapping[str, Plan]) -> None:
    """Check that each pin is of a step.

    :param called: The workflows that the plan calls.
    :raises Problem: 422.
    """
    known = {step.id for step in every_step(plan.steps)}
    bodies = {inner.id for step in plan.steps for inner in every_step(step.body)}
    for workflow_id, child in called.items():
        known |= {f"{workflow_id}.{step.id}" for step in every_step(child.steps)}
    for name in pins:
        if name not in known and not ("[" in name and task_id(name) in bodies):
            suggestion = closest(name[:100], known)
            detail = f"`pins` must name tasks of the workflow; got {shown(name)}.{did_you_mean(suggestion)}"
            raise Problem(422, "unknown_task", detail)


def check_step(plan: Plan, step_id: str) -> None:
    """Check that a step can be run alone.

    :raises Problem: 422.
    """
    known = [step.id for step in plan.steps]
    if step_id not in known:
        suggestion = closest(step_id[:100], known)
        detail = (
            f"`step` must name a task of the workflow, and none inside of a map; got {shown(step_id)}."
            f"{did_you_mean(suggestion)}"
        )
        raise Problem(422, "unknown_task", detail)


def check_effects(
    plan: Plan, pins: Mapping[str, JsonValue], called: Mapping[str, Plan], *, step_id: str | None, live: bool
) -> None:
    """Check that nothing runs that may not: by surprise, with nobody to ask, or with no cluster to run it on.

    :raises Problem: 422, with the steps to pin.
    """
    steps = plan.steps if step_id is None else [step for step in plan.steps if step.id == step_id]
    others = {name: value for name, value in pins.items() if name != step_id}
    unpinned = list(_running(steps, "", others, called, set()))
    in_pods = [each.name for each in unpinned if each.step.pod is not None]
    if in_pods:
        detail = (
            "Code of an organisation runs in pods here, and a test has none: pin the outputs of these steps, or "
            f"publish: {', '.join(in_pods)}."
        )
        raise Problem(422, "needs_pods", detail, steps=in_pods)
    asking = [each.name for each in unpinned if each.step.type == "approval"]
    if asking:
        detail = f'A test has nobody to ask: pin {{"decision": "approve"}} or "reject" for {", ".join(asking)}.'
        raise Problem(422, "must_be_pinned", detail, steps=asking)
    acting = [each.name for each in unpinned if each.step.type not in QUIET | {"approval"}]
    if acting and not live:
        detail = (
            f"These steps do something outside: {', '.join(acting)}. Pin their outputs, or ask for it with "
            '"live": true.'
        )
        raise Problem(422, "must_be_pinned", detail, steps=acting)


def _running(
    steps: tuple[Step, ...] | list[Step],
    prefix: str,
    pins: Mapping[str, JsonValue],
    called: Mapping[str, Plan],
    seen: set[str],
) -> Iterator[_Found]:
    """Yield the steps that would run, those of bodies and of workflows that are called too."""
    for step in steps:
        if prefix + step.id in pins:
            continue
        yield _Found(prefix + step.id, step)
        yield from _running(step.body, prefix, pins, called, seen)
        child = str(step.config["workflow"]) if step.type == "workflow" else ""
        if child in called and child not in seen:
            seen.add(child)
            yield from _running(called[child].steps, f"{child}.", pins, called, seen)


def without_pods(plan: Plan, pins: Mapping[str, JsonValue], prefix: str = "") -> Plan:
    """Return a plan in which pinned steps that are meant for pods are empty ones.

    The runner renders a step before its pin answers for it, and refuses to where the step is meant for a pod. Those
    that are not pinned stay, so that it refuses them still.

    :param prefix: What stands before the steps' ids in pins.
    """
    return plan.model_copy(update={"steps": _without_pods(plan.steps, pins, prefix)})


def _without_pods(steps: tuple[Step, ...], pins: Mapping[str, JsonValue], prefix: str) -> tuple[Step, ...]:
    return tuple(
        step.model_copy(update={"type": "transform", "config": {"set": {}}, "pod": None, "code": None})
        if step.pod is not None and prefix + step.id in pins
        else step.model_copy(update={"body": _without_pods(step.body, pins, prefix)})
        for step in steps
    )


def as_stubs(pins: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return pins as stubs, of which a list has an item an attempt."""
    return {name: [value] * ATTEMPTS if isinstance(value, list) else value for name, value in pins.items()}
