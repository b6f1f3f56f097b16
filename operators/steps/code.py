"""``code``: a function of the tenant's, in a child process with limits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from compiler.expressions import render
from compiler.plan import Step
from operators.steps.base import Scope, StepFailedError, StepKey, StepResult, StepServices, config_error

if TYPE_CHECKING:
    from operators.sandbox.sandbox import Job

INPUT_LIMIT = 16_000_000
"""Bytes of JSON: what a pod can take by ``exec``, and so for code anywhere."""


def code_input(value: Any, scope: Scope) -> JsonValue:
    """Evaluate an ``input``.

    :raises StepFailedError: ``invalid_config``: it is too large.
    """
    rendered: JsonValue = render(value, scope, hands_on=True)
    size = len(json.dumps(rendered))
    if size > INPUT_LIMIT:
        raise config_error(f"`input` must have at most {INPUT_LIMIT:,} bytes of JSON; got {size:,}. Pass on less")
    return rendered


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
            input=code_input(config.get("input", {}), scope),
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
