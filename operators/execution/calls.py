"""Calls from one workflow to another: how deep they may go, and what the called one sees."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import JsonValue

from operators.execution.records import StepError

MAX_DEPTH = 16
"""So many executions in a row may start one another, by events, as error workflows or as steps."""
MAX_SELF_CALLS = 3
"""How often a workflow may stand among its own callers."""

CALL_TRIGGER: dict[str, JsonValue] = {"type": "workflow", "method": None, "path": None, "headers": {}, "query": {}}
"""The ``trigger`` of an execution that another execution started."""


def call_refusal(callers: Sequence[str], workflow_id: str) -> StepError | None:
    """Return why a call goes too deep; None where it does not.

    :param callers: Ids of the workflows whose steps called one another, the first one first, the caller last.
    """
    if len(callers) > MAX_DEPTH:
        rule = f"workflows may call one another {MAX_DEPTH} deep"
        return StepError(code="depth_exceeded", message=f"{rule}; {workflow_id!r} would be deeper")
    if list(callers).count(workflow_id) > MAX_SELF_CALLS:
        rule = f"a workflow may call itself {MAX_SELF_CALLS} times in a row of calls"
        return StepError(code="depth_exceeded", message=f"{rule}; {workflow_id!r} did already")
    return None


def unknown_version(workflow_id: str, version: str | int, found: str) -> StepError:
    """Return the error of a call that pins a version which is not there.

    :param found: What is there instead.
    """
    message = f"`version` must be the number or the label of a version of {workflow_id!r}; got {version!r}; {found}"
    return StepError(code="unknown_version", message=message)


def unknown_workflow(workflow_id: str) -> StepError:
    """Return the error of a call to a workflow that is not there."""
    message = f"`workflow` must be the id of a published workflow of this organisation; got {workflow_id!r}"
    return StepError(code="unknown_workflow", message=message)
