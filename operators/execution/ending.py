"""The end of an execution: its status, output and error, and what becomes of the steps nobody runs any more."""

from __future__ import annotations

from typing import Any

from pydantic import JsonValue

from compiler.expressions import EvaluationError, render
from operators.execution.flow import Flow, Journal
from operators.execution.records import FinalStatus, Finish, StepError, StepRecord
from operators.execution.scope import enter

CANCELLED = StepError(code="cancelled", message="the execution was cancelled")
"""The error of a cancelled execution."""
RUN_TO_END = ("success", "failed", "skipped")


def ending(
    flow: Flow,
    journal: Journal,
    scope: dict[str, Any],
    *,
    unit: str = "",
    token: int = 0,
    timed_out: bool,
    broken_off: StepError = CANCELLED,
) -> Finish:
    """Decide how an execution ends, from its whole journal.

    An unhandled failure fails it; steps that were cut off or never decided mean that it ran out of time or was broken
    off.

    :param broken_off: Why it was; other errors than ``CANCELLED`` mean that it failed.
    """
    left = [StepRecord(id=step_id, status=status) for step_id, status in flow.aftermath(journal).items()]
    status, output, error = _verdict(flow, journal, scope, timed_out=timed_out, broken_off=broken_off)
    return Finish(unit=unit, token=token, status=status, output=output, error=error, steps=left)


def _is_complete(flow: Flow, journal: Journal) -> bool:
    """Tell whether every step ran to its end or was skipped. One that was cut off is decided, but did not.

    What was cut off in the body of a map is the map's affair.
    """
    return all(step_id in journal and journal[step_id].status in RUN_TO_END for step_id in flow.steps)


def _verdict(
    flow: Flow, journal: Journal, scope: dict[str, Any], *, timed_out: bool, broken_off: StepError
) -> tuple[FinalStatus, JsonValue, StepError | None]:
    failures = flow.unhandled(journal)
    if failures:
        error = failures[0].error or StepError(code="internal_error", message="no error was recorded")
        return "failed", None, StepError(code=error.code, message=f"step {failures[0].id!r} failed: {error.message}")
    complete = _is_complete(flow, journal)
    if not complete and timed_out:
        limit = flow.plan.timeout_seconds or 0
        return "failed", None, StepError(code="workflow_timeout", message=f"the workflow took longer than {limit:g} s")
    if not complete:
        return "cancelled" if broken_off is CANCELLED else "failed", None, broken_off
    return _output(flow, journal, scope)


def _output(flow: Flow, journal: Journal, scope: dict[str, Any]) -> tuple[FinalStatus, JsonValue, StepError | None]:
    if not flow.plan.has_output:
        return "success", flow.default_output(journal), None
    for record in journal.values():
        enter(scope, record)
    try:
        return "success", render(flow.plan.output, scope, hands_on=True), None
    except EvaluationError as error:
        return "failed", None, StepError(code=error.code, message=f"`output`: {error.message}")
