"""``workflow``: runs another workflow as a step."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import JsonValue

from compiler.expressions import render
from compiler.plan import Step
from operators.execution.records import ChildRequest, ChildState
from operators.steps.base import Scope, StepFailedError, StepResult, StepServices, Waiting, Wake


@dataclass(frozen=True, slots=True)
class Call:
    """A rendered ``workflow``: which one, in which version, with what, and whether its end is waited for."""

    workflow_id: str
    version: str | int | None
    input: JsonValue
    wait: bool


class WorkflowStep:
    """Yields the child's output; with ``wait: false`` at once ``{execution_id}``.

    The child is an execution of its own, a fresh one for each attempt.
    """

    def render(self, step: Step, scope: Scope) -> Call:
        """Evaluate the input."""
        config: dict[str, Any] = step.config
        return Call(
            config["workflow"],
            config.get("version"),
            render(config["input"], scope, hands_on=True),
            config.get("wait", True),
        )

    async def poll(self, request: Call, services: StepServices, waiting: Waiting, now: datetime) -> StepResult | Wake:
        """Start the child if need be, and look how it stands.

        :raises StepFailedError: ``child_failed``: another attempt may help. ``unknown_workflow``, ``unknown_version``,
            ``invalid_input``, ``depth_exceeded``: it cannot be called like this.
        """
        child = await self._child(request, services, waiting)
        if child.refused is not None:
            raise StepFailedError(child.refused.code, child.refused.message, retryable=False)
        if not request.wait:
            return StepResult({"execution_id": child.execution_id})
        if child.status == "success":
            return StepResult(child.output)
        if child.status in ("failed", "cancelled"):
            raise StepFailedError("child_failed", _message(request, child), retryable=True)
        return Wake(awaited=(child.execution_id,), since=child.accepted_at)

    async def abandon(self, request: Call, services: StepServices, waiting: Waiting) -> None:
        """Cancel the child, unless nobody ever waited for it."""
        if request.wait:
            child = await self._child(request, services, waiting)
            if child.refused is None:
                await services.cancel_child(child.execution_id)

    async def _child(self, request: Call, services: StepServices, waiting: Waiting) -> ChildState:
        return await services.start_child(
            ChildRequest(
                key=str(waiting),
                workflow_id=request.workflow_id,
                version=request.version,
                input=request.input,
                detached=not request.wait,
            )
        )


def _message(request: Call, child: ChildState) -> str:
    reason = f": {child.error.message}" if child.error is not None else ""
    ended = "was cancelled" if child.status == "cancelled" else "failed"
    return f"workflow {request.workflow_id!r} {ended}{reason}"
