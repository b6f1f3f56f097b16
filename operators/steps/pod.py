"""``code`` and ``container`` in pods: a step whose plan describes one."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from compiler.plan import Step
from operators.steps.base import Scope, StepFailedError, StepResult, StepServices, Waiting, Wake, config_error
from operators.steps.code import code_input

if TYPE_CHECKING:
    from operators.pods.jobs import PodJob


class _InPod:
    """What both have in common. A step waits for its pod: in this process for a while, then without one."""

    async def poll(self, request: PodJob, services: StepServices, waiting: Waiting, now: datetime) -> StepResult | Wake:
        """Have the job done, or look how it stands.

        :raises StepFailedError: It gave no result; there is no Kubernetes.
        """
        from operators.execution.store import StoreError
        from operators.pods.cluster import ClusterError
        from operators.pods.failures import PodFailedError
        from operators.sandbox.sandbox import JobFailedError

        if services.pods is None:
            message = "the step must run in Kubernetes; there is none here. Publish it, or compile it for a process"
            raise StepFailedError("needs_kubernetes", message, retryable=False)
        try:
            return await services.pods.look(request, waiting, now)
        except (PodFailedError, JobFailedError) as error:
            raise StepFailedError(error.code, error.message, retryable=error.retryable) from None
        except ClusterError as error:
            # No failure of the step: Airflow runs the unit again, which finds the pod.
            raise StoreError(str(error)) from None

    async def abandon(self, request: PodJob, services: StepServices, waiting: Waiting) -> None:
        """Let the pod take no other job."""
        if services.pods is not None:
            await services.pods.abandon(request, waiting)


class PodCode(_InPod):
    """Yields what ``main`` returned. Every attempt gets a process of its own."""

    def render(self, step: Step, scope: Scope) -> PodJob:
        """Evaluate ``input``; the code is verbatim."""
        from operators.pods.jobs import code_job
        from operators.sandbox.sandbox import Job

        config: dict[str, Any] = step.config
        if step.code is None or step.limits is None or step.timeout_seconds is None:
            raise config_error("the plan must have `code`, `limits` and `timeout_seconds`; publish the workflow again")
        job = Job(
            language=config["language"],
            code=step.code,
            input=code_input(config.get("input", {}), scope),
            network=config.get("network", "none"),
            limits=step.limits,
            timeout_seconds=step.timeout_seconds,
        )
        return code_job(step, job)


class PodContainer(_InPod):
    """Yields the JSON of the file that the container wrote. Every attempt gets a pod of its own."""

    def render(self, step: Step, scope: Scope) -> PodJob:
        """Evaluate ``input``; command, arguments and environment are verbatim."""
        from operators.pods.jobs import container_job
        from operators.pods.spec import Program

        config: dict[str, Any] = step.config
        text = json.dumps(code_input(config.get("input", {}), scope))
        program = Program(
            command=tuple(config.get("command", ())),
            args=tuple(config.get("args", ())),
            env=tuple(sorted(config.get("env", {}).items())),
            gives_file=True,
        )
        return container_job(step, program, text)
