"""Checks an execution's input against its workflow's schema."""

from __future__ import annotations

from pydantic import JsonValue

from compiler.plan import Plan


def input_error(plan: Plan, value: JsonValue) -> str | None:
    """Return why an input breaks the workflow's ``input`` schema, naming the place; None where it does not."""
    if plan.input_schema is None:
        return None
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(plan.input_schema).iter_errors(value))
    if error is None:
        return None
    place = "".join(f"/{part}" for part in error.absolute_path) or "the input"
    return f"the input must match the workflow's `input` schema; at {place}: {error.message}"
