"""The names expressions see, from an execution's grant and its journal."""

from __future__ import annotations

from typing import Any

from compiler.plan import Plan
from operators.execution.records import LeaseGrant, StepRecord


def scope_of(plan: Plan, grant: LeaseGrant) -> dict[str, Any]:
    """Return the scope at the start of a unit; :func:`enter` keeps it up to date."""
    scope: dict[str, Any] = {
        "input": grant.input,
        "trigger": grant.trigger,
        "execution": grant.execution.model_dump(),
        "vars": grant.vars,
    }
    for step in plan.steps:
        scope[step.id] = {"output": None, "status": "pending", "error": None}
    for record in grant.steps.values():
        enter(scope, record)
    return scope


def enter(scope: dict[str, Any], record: StepRecord) -> None:
    """Put what is known of a step into the scope: ``{output, status, error}``."""
    error = None if record.error is None else {"code": record.error.code, "message": record.error.message}
    scope[record.id] = {"output": record.output, "status": record.status, "error": error}
