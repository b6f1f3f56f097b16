"""The Airflow trigger that waits for pods, so that no worker does."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

from operators.tasks.quiet import CLUSTER_LOGGERS, quieten
from operators.tasks.triggers import StepTrigger

FIRST_SECONDS, LATER_SECONDS = 1.0, 2.0
"""How often it looks: at first every second, later at a tenth of the time that has passed, up to every two seconds: the
next step of a shared pod waits for it."""
SECONDS_A_POD = 0.02
"""Who waits for very many pods looks more rarely: each has a log to read."""
LONGEST_PAUSE_SECONDS = 30.0
"""Between two looks that failed."""
ENDED = ("Succeeded", "Failed", "Unknown")
NEWS_LINES = 200


class PodTrigger(StepTrigger):
    """Fires when a job in one of some pods is done, a container has ended, its image cannot be had, or the execution is
    over. Meanwhile it shows what containers print.

    It holds names and ids only; the key to the cluster is the connection's, which the triggerer looks up. Firing too
    often is harmless.

    :param connection: Airflow's connection of the organisation.
    :param pods: Name of each pod, with the id of the job that its steward is to report; None where the container's end
        is what counts.
    :param pod: As triggers have it that Airflow has stored since before there could be several.
    :param job: Likewise.
    """

    def __init__(
        self,
        execution_id: str,
        awaited: Sequence[str] | None = None,
        until: float | None = None,
        connection: str = "",
        namespace: str = "",
        pods: Sequence[Sequence[str | None]] = (),
        pod: str | None = None,
        job: str | None = None,
    ) -> None:
        super().__init__(execution_id, awaited, until)
        self.connection = connection
        self.namespace = namespace
        self.pods = [list(each) for each in pods] or [[pod, job]]
        self._mask: Callable[[str], str] | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow stores of the trigger."""
        _, arguments = super().serialize()
        arguments |= {"connection": self.connection, "namespace": self.namespace, "pods": self.pods}
        return "operators.tasks.pod_trigger.PodTrigger", arguments

    async def _news(self) -> dict[str, Any] | None:
        """Return when the control plane or the cluster has news."""
        quieten(CLUSTER_LOGGERS)
        tasks = [asyncio.create_task(news) for news in (super()._news(), self._pod_news())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return None

    async def _pod_news(self) -> dict[str, Any] | None:
        """Return when the cluster has news. Whatever goes wrong with a look is none: a worker could do no better."""
        from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook
        from kubernetes_asyncio import client

        hook: Any = AsyncKubernetesHook(conn_id=self.connection)
        began = time.monotonic()
        failures = 0
        while True:
            try:
                async with hook.get_conn() as connection:
                    api = client.CoreV1Api(connection)
                    while not await self._has_news(api):
                        failures = 0
                        await asyncio.sleep(self._pause(time.monotonic() - began))
                    return None
            except Exception as error:
                failures += 1
                # Its text stays out: it may be the tenant's.
                self.log.warning("a look at the pods failed: %s", _named(error))
            await asyncio.sleep(min(LONGEST_PAUSE_SECONDS, FIRST_SECONDS * 2 ** min(failures - 1, 10)))

    def _pause(self, passed: float) -> float:
        return max(min(LATER_SECONDS, max(FIRST_SECONDS, passed / 10)), SECONDS_A_POD * len(self.pods))

    async def _has_news(self, api: Any) -> bool:
        from operators.pods.spec import LABEL

        labels = f"{LABEL}execution={self.execution_id}"
        found = {
            pod.metadata.name: pod
            for pod in (await api.list_namespaced_pod(self.namespace, label_selector=labels)).items
        }
        jobs: dict[str | None, list[str | None]] = {}
        for name, job in self.pods:
            jobs.setdefault(name, []).append(job)
        if any(_calls(found.get(name)) for name in jobs):
            return True
        running = {name: found[name] for name in jobs if _is_running(found[name])}
        for name in running:
            if jobs[name] != [None] and await self._is_done(api, name, jobs[name]):
                return True
        for name, pod in running.items():
            if jobs[name] == [None]:
                await self._show(api, pod)
        return False

    async def _show(self, api: Any, pod: Any) -> None:
        """Show what a container has printed since in the task's log, and note how far that is."""
        from operators.pods.output import OUTPUT_LIMIT, SHOWN, new_lines, shown_bytes

        before = shown_bytes(pod.metadata.annotations)
        if before >= OUTPUT_LIMIT or not await self._knows_secrets():
            return
        output = await self._printed(api, pod.metadata.name, "base", limit_bytes=OUTPUT_LIMIT)
        assert self._mask is not None
        lines, after = new_lines(output[:OUTPUT_LIMIT], before, self._mask, last=False)
        for line in lines:
            self.log.info("%s", line)
        if after > before:
            note = {"metadata": {"annotations": {SHOWN: str(after)}}}
            await api.patch_namespaced_pod(pod.metadata.name, self.namespace, note)

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

    async def _is_done(self, api: Any, name: str | None, jobs: Sequence[str | None]) -> bool:
        """Look in the log of the steward, which holds ids of jobs only. A job may not have been handed over yet."""
        log = await self._printed(api, name, "steward", tail_lines=NEWS_LINES)
        lines = log.decode("utf-8", "replace").splitlines()
        return any(line.startswith("lost ") for line in lines) or any(
            f"done {job}" in lines or f"took {job}" not in lines for job in jobs
        )

    async def _printed(self, api: Any, name: str | None, container: str, **bounds: int) -> bytes:
        """Return what a container has printed, as bytes: the client's text must be UTF-8, and a tenant's need not."""
        answer = await api.read_namespaced_pod_log(
            name, self.namespace, container=container, _preload_content=False, **bounds
        )
        async with answer:
            answer.raise_for_status()
            printed: bytes = await answer.read()
            return printed


def _calls(pod: Any) -> bool:
    """Tell whether a pod's status says that it wants a worker; a pod that is gone does."""
    if pod is None or pod.metadata.deletion_timestamp is not None or pod.status.phase in ENDED:
        return True
    receiver = (pod.status.init_container_statuses or [None])[0]
    if receiver is not None and receiver.state.running is not None:
        # It waits for what is brought in.
        return True
    base = _base(pod)
    for status in (receiver, base):
        if status is not None and status.state.waiting is not None and _is_stuck(status.state.waiting.reason):
            return True
    return base is not None and base.state.terminated is not None


def _is_running(pod: Any) -> bool:
    base = _base(pod)
    return base is not None and base.state.running is not None


def _base(pod: Any) -> Any:
    return next((status for status in pod.status.container_statuses or () if status.name == "base"), None)


def _is_stuck(reason: str | None) -> bool:
    from operators.pods.failures import NO_IMAGE, NO_START

    return reason in (*NO_IMAGE, *NO_START)


def _named(error: Exception) -> str:
    status = getattr(error, "status", None)
    return type(error).__name__ if status is None else f"HTTP {status}"
