"""What steps were given. The journal does not hold it: it is derived, by evaluating the step's config once more over
what the journal holds. Expressions are pure, so this gives what the step saw, except for what it read of a step that
had not ended then (behind a ``join`` of ``any``)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import orjson

from api.executions.schemas import StepInput
from compiler.expressions import EvaluationError, ExpressionError, Withheld, render
from compiler.plan import Plan, Step
from operators.execution.records import LeaseGrant
from operators.execution.scope import scope_of

SECONDS = 1.0
"""For all steps of an execution; those that are left then are shown without."""
MAX_BYTES = 256 * 1024
"""Of one step; larger parts are left out."""

_BEGUN = ("running", "success", "failed")
_VERBATIM = {"output_schema", "expect_status", "jsonpath"}
"""Parts of a config that are not evaluated."""
_OF_ITEMS = {"result", "as", "tasks"}
"""Parts of a map's config that concern its items."""


def derive_inputs(plan: Plan, grant: LeaseGrant) -> dict[str, StepInput]:
    """Return by id what the plan's own steps were given that began; those in a map's body are not among them.

    Takes at most about a second of one thread.
    """
    scope = scope_of(plan, grant)
    for made in grant.steps.values():
        if made.output_ref is not None and made.id in scope:
            # It is not fetched for a look: what reads it is left out.
            known = {name: value for name, value in scope[made.id].items() if name != "output"}
            scope[made.id] = Withheld(known, ["output"], "a large output")
    deadline = time.monotonic() + SECONDS
    derived: dict[str, StepInput] = {}
    for step in plan.steps:
        if time.monotonic() > deadline:
            break
        record = grant.steps.get(step.id)
        if record is not None and record.status in _BEGUN and record.attempts:
            derived[step.id] = _derive(step, scope)
    return derived


def _derive(step: Step, scope: Mapping[str, Any]) -> StepInput:
    left_out: list[str] = []
    config: dict[str, Any] = {}
    for name, value in step.config.items():
        if step.type == "map" and name in _OF_ITEMS:
            continue
        try:
            config[name] = value if name in _VERBATIM else render(value, scope)
        except (EvaluationError, ExpressionError):
            left_out.append(name)
    for name in sorted(config, key=lambda name: -len(orjson.dumps(config[name]))):
        if len(orjson.dumps(config)) <= MAX_BYTES:
            break
        del config[name]
        left_out.append(name)
    return StepInput(config=config, left_out=left_out)
