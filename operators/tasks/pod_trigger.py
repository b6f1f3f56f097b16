"""The Airflow trigger that waits for a pod, so that no worker does."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

from operators.tasks.triggers import StepTrigger

FIRST_SECONDS, LATER_SECONDS = 1.0, 10.0
"""How often it looks: at first every second, later at a tenth of the time that has passed."""
ENDED = ("Succeeded", "Failed", "Unknown")
NEWS_LINES = 200


class PodTrigger(StepTrigger):
    """Fires when a job in a pod is done, its container has ended, its image cannot be had, or the execution is over.

    It holds names and ids only; the key to the cluster is the connection's, which the triggerer looks up. Firing too
    often is harmless.

    :param connection: Airflow's connection of the organisation.
    :param job: Id of the job that the pod's steward is to report; None where the container's end is what counts.
    """

    def __init__(
        self,
        execution_id: str,
        awaited: Sequence[str] | None = None,
        until: float | None = None,
        connection: str = "",
        namespace: str = "",
        pod: str = "",
        job: str | None = None,
    ) -> None:
        super().__init__(execution_id, awaited, until)
        self.connection = connection
        self.namespace = namespace
        self.pod = pod
        self.job = job
        self._mask: Callable[[str], str] | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow stores of the trigger."""
        _, arguments = super().serialize()
        arguments |= {"connection": self.connection, "namespace": self.namespace, "pod": self.pod, "job": self.job}
        return "operators.tasks.pod_trigger.PodTrigger", arguments

    async def _news(self) -> dict[str, Any] | None:
        """Return when the control plane or the cluster has news."""
        tasks = [asyncio.create_task(news) for news in (super()._news(), self._pod_news())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return None

    async def _pod_news(self) -> dict[str, Any] | None:
        from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook
        from kubernetes_asyncio import client

        hook: Any = AsyncKubernetesHook(conn_id=self.connection)
        began = time.monotonic()
        while True:
            try:
                async with hook.get_conn() as connection:
                    if await self._has_news(client.CoreV1Api(connection)):
                        return None
            except client.ApiException as error:
                if error.status == 404:
                    return None
                self.log.warning("the API server answered HTTP %s", error.status)
            except (OSError, TimeoutError) as error:
                self.log.warning("the API server did not answer: %s", type(error).__name__)
            await asyncio.sleep(min(LATER_SECONDS, max(FIRST_SECONDS, (time.monotonic() - began) / 10)))

    async def _has_news(self, api: Any) -> bool:
        pod = await api.read_namespaced_pod(self.pod, self.namespace)
        if pod.metadata.deletion_timestamp is not None or pod.status.phase in ENDED:
            return True
        receiver = (pod.status.init_container_statuses or [None])[0]
        if receiver is not None and receiver.state.running is not None:
            # It waits for what is brought in.
            return True
        statuses = {status.name: status for status in (pod.status.container_statuses or ())}
        for status in (receiver, statuses.get("base")):
            if status is not None and status.state.waiting is not None and _is_stuck(status.state.waiting.reason):
                return True
        base = statuses.get("base")
        if base is None or base.state.running is None:
            return base is not None and base.state.terminated is not None
        if self.job is None:
            await self._show(api, pod)
            return False
        return await self._is_done(api)

    async def _show(self, api: Any, pod: Any) -> None:
        """Show what a container has printed since in the task's log, and note how far that is."""
        from operators.pods.output import OUTPUT_LIMIT, SHOWN, new_lines, shown_bytes

        before = shown_bytes(pod.metadata.annotations)
        if before >= OUTPUT_LIMIT or not await self._knows_secrets():
            return
        output: str = await api.read_namespaced_pod_log(
            self.pod, self.namespace, container="base", limit_bytes=OUTPUT_LIMIT
        )
        assert self._mask is not None
        lines, after = new_lines(output.encode()[:OUTPUT_LIMIT], before, self._mask, last=False)
        for line in lines:
            self.log.info("%s", line)
        if after > before:
            note = {"metadata": {"annotations": {SHOWN: str(after)}}}
            await api.patch_namespaced_pod(self.pod, self.namespace, note)

    async def _knows_secrets(self) -> bool:
        """Ask what must be masked, once: nobody else is told, so it is no argument of the trigger. Where the control
        plane does not say, nothing is shown; whoever looks next shows it."""
        from operators.execution.http import HttpStore
        from operators.execution.store import StoreError
        from operators.pods.masking import Masker
        from operators.settings import runtime_settings

        if self._mask is None:
            with contextlib.suppress(StoreError):
                async with HttpStore(runtime_settings()) as store:
                    self._mask = Masker((await store.redactions(self.execution_id)).values)
        return self._mask is not None

    async def _is_done(self, api: Any) -> bool:
        """Look in the log of the steward, which holds ids of jobs only. The job may not have been handed over yet."""
        log: str = await api.read_namespaced_pod_log(
            self.pod, self.namespace, container="steward", tail_lines=NEWS_LINES
        )
        lines = log.splitlines()
        return (
            f"done {self.job}" in lines
            or f"took {self.job}" not in lines
            or any(line.startswith("lost ") for line in lines)
        )


def _is_stuck(reason: str | None) -> bool:
    from operators.pods.failures import NO_IMAGE, NO_START

    return reason in (*NO_IMAGE, *NO_START)
