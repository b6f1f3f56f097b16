"""Checks an execution's input against its workflow's schema."""

from __future__ import annotations

from pydantic import JsonValue

from compiler.plan import Plan


def input_error(plan: Plan, value: JsonValue) -> str | None:
    """Return why an input breaks the workflow's ``input`` schema, naming the place; None where it does not."""
    if plan.input_schema is None:
        return None
    from compiler.matching import BoundedValidator, UncheckableError

    try:
        found = BoundedValidator(plan.input_schema).best_mismatch(value)
    except UncheckableError as error:
        return f"the input cannot be checked by the workflow's `input` schema: {error}"
    if found is None:
        return None
    place = "".join(f"/{part}" for part in found.path) or "the input"
    return f"the input must match the workflow's `input` schema; at {place}: {found.message}"
