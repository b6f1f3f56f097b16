"""``code``: a function of the tenant's, in a child process with limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compiler.expressions import render
from compiler.plan import Step
from operators.steps.base import Scope, StepFailedError, StepKey, StepResult, StepServices, config_error

if TYPE_CHECKING:
    from operators.sandbox.sandbox import Job


class Code:
    """Yields what ``main`` returned. Every attempt gets a process of its own."""

    def render(self, step: Step, scope: Scope) -> Job:
        """Evaluate ``input``; the code is verbatim.

        :raises StepFailedError: The plan is for Kubernetes, or names no limits.
        """
        from operators.sandbox.sandbox import Job

        config: dict[str, Any] = step.config
        if step.pod is not None:
            # Never in a process what was meant for a pod: it may be another organisation's.
            message = "the step was compiled for Kubernetes, which this version cannot run; compile it for a process"
            raise StepFailedError("needs_kubernetes", message, retryable=False)
        if step.code is None or step.limits is None or step.timeout_seconds is None:
            raise config_error("the plan must have `code`, `limits` and `timeout_seconds`; publish the workflow again")
        return Job(
            language=config["language"],
            code=step.code,
            input=render(config.get("input", {}), scope),
            network=config.get("network", "none"),
            limits=step.limits,
            timeout_seconds=step.timeout_seconds,
        )

    async def call(self, request: Job, services: StepServices, key: StepKey) -> StepResult:
        """Run the code once."""
        from operators.sandbox.sandbox import JobFailedError, Sandbox

        if services.sandbox is None:
            services.sandbox = Sandbox()
        try:
            return StepResult(await services.sandbox.run(request))
        except JobFailedError as error:
            raise StepFailedError(error.code, error.message, retryable=error.retryable) from None
