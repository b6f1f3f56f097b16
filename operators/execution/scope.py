"""The names expressions see, from an execution's grant and its journal."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from compiler.expressions import Withheld
from compiler.plan import Plan
from operators.execution.bodies import is_of_body
from operators.execution.records import LeaseGrant, StepRecord

PENDING: Any = {"output": None, "status": "pending", "error": None}
"""What the scope holds of a step that has not begun."""


def scope_of(plan: Plan, grant: LeaseGrant) -> dict[str, Any]:
    """Return the scope at the start of a unit; :func:`enter` keeps it up to date."""
    scope: dict[str, Any] = {
        "input": grant.input,
        "trigger": grant.trigger,
        "execution": grant.execution.model_dump(),
        "vars": Withheld(grant.vars, grant.secret_vars, "a secret variable") if grant.secret_vars else grant.vars,
    }
    scope.update((step.id, PENDING) for step in plan.steps)
    for record in grant.steps.values():
        # Outside of a map nobody sees its body.
        if not is_of_body(record.id):
            enter(scope, record)
    return scope


def enter(scope: MutableMapping[str, Any], record: StepRecord) -> None:
    """Put what is known of a step into the scope: ``{output, status, error}``."""
    error = None if record.error is None else {"code": record.error.code, "message": record.error.message}
    scope[record.id] = {"output": record.output, "status": record.status, "error": error}
