"""One look at one job: find or start its pod, bring in what it needs, hand the job over, take what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from operators.execution.records import PodSettings, PodTiming
from operators.pods import warm
from operators.pods.cluster import Cluster, ClusterError, Stream, StreamClosedError
from operators.pods.failures import PodFailedError, container, look_at, moments
from operators.pods.inside import receive
from operators.pods.jobs import PodJob, failure_of_code, programs, result_of_file, result_of_keeper
from operators.pods.output import CUT, OUTPUT_LIMIT, SHOW_SECONDS, SHOWN, last_lines, new_lines, shown_bytes
from operators.pods.pool import Attached, PodPool
from operators.pods.spec import (
    BASE,
    GIVEN,
    LABEL,
    OUTPUT_FILE,
    PYTHON,
    RECEIVER,
    STEWARD,
    Place,
    build_pod,
    digest,
    pod_name,
    selector,
)
from operators.sandbox.sandbox import JobFailedError
from operators.settings import result_max_bytes
from operators.steps.base import PodWatch, StepResult, Waiting

if TYPE_CHECKING:
    from kubernetes.client import V1Pod

LOOK_SECONDS = 0.1
LOST_SECONDS = 30.0
AGAIN_SECONDS = 5.0
"""The status of a container that took what was brought in lags behind."""
GONE_SECONDS = 30.0
SLACK_SECONDS = 30.0
"""How much longer than asked an answer of the steward may take."""
TAIL = 1_000
WITH_TAIL = ("exit_code", "out_of_memory")
JOB = LABEL + "job"
"""Annotation: the job that a pod had when its worker gave itself back."""
T = TypeVar("T")


class Visit:
    """One look at one job."""

    def __init__(
        self, pool: PodPool, cluster: Cluster, settings: PodSettings, job: PodJob, waiting: Waiting, end: float
    ) -> None:
        self._pool = pool
        self._cluster = cluster
        self._settings = settings
        self._job = job
        self._waiting = waiting
        self._end = end
        self._id = digest(str(waiting))
        self._slot = job.slot_of(waiting)
        key = waiting.key
        self._place = Place(key.execution_id, key.epoch, pool.unit, self._slot)
        self._labels = self._place.labels(job.pod.network)
        self._kind = warm.kind_for(job, settings)
        self.ran = 0.0
        """How long the job has run, in seconds."""

    async def run(self) -> StepResult | PodWatch:
        """Bring the job as far as it comes before this process has waited enough.

        :return: Its result, or what to wait for.
        """
        async with self._pool.lock(self._slot):
            attached = await self._attach()
        try:
            while True:
                # A connection that was left open says that its pod runs; if it does not, the next round finds out.
                if not attached.idle:
                    async with self._pool.lock(self._slot):
                        ready = await self._ready(attached)
                    if not ready:
                        return await self._leave(attached)
                result = await (self._file(attached) if self._job.program.gives_file else self._talk(attached))
                if result is not None:
                    return result
                if time.monotonic() >= self._end:
                    return await self._leave(attached)
        except PodFailedError as failure:
            attached.unwanted = True
            await self._show(attached, last=True)
            if failure.code not in WITH_TAIL:
                raise
            tail = await self._tail(attached)
            error = failure_of_code(self._job, failure, tail)
        raise error

    async def _leave(self, attached: Attached) -> PodWatch:
        """Write down which job the pod has, so that whoever comes back learns what became of it, should it die."""
        if self._job.program.gives_file:
            await self._show(attached)
            await asyncio.to_thread(self._cluster.annotate, attached.name, SHOWN, str(attached.shown))
            return PodWatch(self._cluster.namespace, attached.name)
        await asyncio.to_thread(self._cluster.annotate, attached.name, JOB, self._id)
        return PodWatch(self._cluster.namespace, attached.name, self._id)

    # Finding or starting the pod.

    async def _attach(self) -> Attached:
        """Return the pod for this job: the one it is in, a running one that takes it, or a new one."""
        known = self._pool.slots.get(self._slot)
        if known is not None and not known.unwanted:
            return known
        if known is not None:
            await self._drop(known.name)
        found = await self._found()
        asked = (self._waiting.started_at or datetime.now(UTC)).timestamp()
        while found is None or warm.needs_settling(found):
            if found is None:
                found = await self._start()
            if warm.needs_settling(found):
                found = await asyncio.to_thread(warm.settle, self._cluster, self._labels)
        attached = Attached(found.metadata.name, _seconds_of(found), asked, fresh=self._is_first_of(found))
        attached.shown = shown_bytes(found.metadata.annotations)
        self._pool.slots[self._slot] = attached
        self._pool.current(found)
        return attached

    async def _start(self) -> V1Pod:
        """Return a pod for this job: a warm one, where there is one, or a new one."""
        deadline = self._pool.deadline_seconds
        if self._kind is not None:
            claimed = await asyncio.to_thread(
                warm.claim, self._cluster, self._kind, self._settings, self._place, self._id, deadline
            )
            if claimed is not None:
                self._pool.meanwhile(warm.replace, self._cluster, self._kind, self._settings)
                return claimed
        name = pod_name(self._place, self._id)
        await self._gone(name)
        pod = build_pod(name, self._labels, self._job.pod, self._job.program, self._settings, deadline)
        if self._kind is not None:
            # Somebody else may have claimed one for the same job.
            pod.metadata.annotations = {warm.CLAIMED: self._id}
        try:
            return await asyncio.to_thread(self._cluster.create, pod)
        except PodFailedError as refusal:
            removed = await asyncio.to_thread(warm.make_room, self._cluster) if refusal.retryable else []
            if not removed:
                raise
        for each in removed:
            await self._gone(each)
        return await asyncio.to_thread(self._cluster.create, pod)

    def _is_first_of(self, pod: V1Pod) -> bool:
        """Tell whether a pod was started or claimed for this job."""
        return pod.metadata.name == pod_name(self._place, self._id) or warm.notes(pod).get(warm.CLAIMED) == self._id

    async def _found(self) -> V1Pod | None:
        """Return the pod that has this job, or a living one that takes it; remove the others that are over."""
        pods = await asyncio.to_thread(self._cluster.find, selector(self._labels))
        living = None
        for pod in pods:
            if pod.metadata.deletion_timestamp is not None:
                continue
            if self._is_first_of(pod):
                return pod
            if _is_living(pod) or (pod.metadata.annotations or {}).get(JOB) == self._id:
                living = pod
            else:
                await asyncio.to_thread(self._cluster.delete, pod.metadata.name)
        return living

    async def _drop(self, name: str) -> None:
        """Remove a pod that is of no more use."""
        attached = self._pool.slots.pop(self._slot, None)
        while attached is not None and attached.idle:
            attached.idle.pop().close()
        await asyncio.to_thread(self._cluster.delete, name)
        await self._gone(name)

    async def _gone(self, name: str) -> None:
        """Wait until a pod that is being deleted is gone: two of a step never run at once."""
        end = time.monotonic() + GONE_SECONDS
        while time.monotonic() < end:
            pod = await asyncio.to_thread(self._cluster.get, name)
            if pod is None or pod.metadata.deletion_timestamp is None:
                return
            await asyncio.sleep(LOOK_SECONDS)
        raise ClusterError("a pod that was deleted does not go")

    # Bringing it to where it can take the job.

    async def _ready(self, attached: Attached) -> bool:
        """Bring in what the pod needs; tell whether it can be asked now, or False where there is no more time."""
        while True:
            pod = await self._pod(attached)
            waited = time.time() - attached.made
            phase = look_at(pod, waited=waited, start_seconds=self._settings.start_seconds)
            if phase == "receiving" and time.monotonic() - attached.brought > AGAIN_SECONDS:
                await asyncio.to_thread(self._bring_in, attached)
            elif phase == "ended":
                self._after_end(pod)
                return True
            elif phase == "running" and not self._job.program.gives_file:
                return True
            elif phase == "running":
                self._check_time(pod)
                if time.monotonic() - attached.looked > SHOW_SECONDS:
                    await self._show(attached)
            if time.monotonic() >= self._end:
                return False
            await asyncio.sleep(LOOK_SECONDS)

    def _after_end(self, pod: V1Pod) -> None:
        if not self._job.program.gives_file:
            message = (
                "the container's program must run until the pod ends; it ended before. Is it this version's image?"
            )
            raise PodFailedError("sandbox_error", message, retryable=True)

    def _check_time(self, pod: V1Pod) -> None:
        began = moments(pod).begun
        self.ran = (datetime.now(UTC) - began).total_seconds() if began is not None else 0.0
        if self.ran > self._job.timeout_seconds + 1:
            message = f"an attempt took longer than {self._job.timeout_seconds:g} s"
            raise PodFailedError("timeout", message, retryable=True)

    async def _pod(self, attached: Attached) -> V1Pod:
        pod = await asyncio.to_thread(self._cluster.get, attached.name)
        if pod is None or pod.metadata.deletion_timestamp is not None:
            self._pool.slots.pop(self._slot, None)
            raise PodFailedError("node_lost", "the pod must stay until its end; it was deleted", retryable=True)
        return pod

    def _bring_in(self, attached: Attached) -> None:
        """Give the init container what it waits for; one that has it says so and stays as it is."""
        data = json.dumps(programs() | dict(self._job.files)).encode()
        try:
            stream = self._cluster.open(attached.name, RECEIVER, [*PYTHON, "-c", receive.UNPACK])
            try:
                stream.send(b"%d\n" % len(data) + data)
                stream.read_line(SLACK_SECONDS)
                attached.brought = time.monotonic()
            finally:
                stream.close()
        except StreamClosedError:
            # It may have ended meanwhile; the next look shows.
            return

    # Having the job done.

    async def _talk(self, attached: Attached) -> StepResult | None:
        """Hand the job to the steward and wait for its end; None where it is not over yet, or the pod broke off."""
        try:
            stream = await self._stream(attached)
        except StreamClosedError:
            await asyncio.sleep(LOOK_SECONDS)
            return None
        try:
            answer, result = await self._cancellable(stream, lambda: self._exchange(stream))
        except StreamClosedError:
            return None
        attached.idle.append(stream)
        state = answer["state"]
        if state == "lost":
            return await self._why_lost(attached)
        self.ran = float(answer.get("seconds", 0.0))
        if state != "done":
            return None
        attached.done.add(self._id)
        timing = await self._timing(attached)
        timing.result = round(float(answer["age"]) * 1000, 3)
        return result_of_keeper(self._job, result, timing, partial(self._printed, attached))

    async def _cancellable(self, stream: Stream, call: Callable[[], T]) -> T:
        """Make a blocking call; where this task is cancelled, break it off."""
        try:
            return await asyncio.to_thread(call)
        except asyncio.CancelledError:
            stream.close()
            raise

    async def _stream(self, attached: Attached) -> Stream:
        if attached.idle:
            return attached.idle.pop()
        command = [*PYTHON, f"{GIVEN}/steward.py", "talk"]
        stream = await asyncio.to_thread(self._cluster.open, attached.name, STEWARD, command)
        left = max(1.0, self._end - time.monotonic())
        ready, _ = await self._cancellable(
            stream, lambda: stream.ask({"op": "ready", "seconds": left}, seconds=left + SLACK_SECONDS)
        )
        if not ready["ready"]:
            stream.close()
            raise StreamClosedError("the pod's program is not ready")
        return stream

    def _exchange(self, stream: Stream) -> tuple[dict[str, Any], bytes]:
        """Submit the job, which does nothing where it is known, and wait."""
        left = max(0.0, self._end - time.monotonic())
        # Both on one way: for a small step the ways are most of its time.
        stream.put({"op": "run", "job": self._id}, self._job.request)
        stream.put({"op": "wait", "job": self._id, "seconds": left})
        stream.answer(seconds=SLACK_SECONDS)
        return stream.answer(seconds=left + SLACK_SECONDS)

    async def _why_lost(self, attached: Attached) -> StepResult | None:
        """Say why the tenant's container does no job any more; its end is told a moment later."""
        end = time.monotonic() + LOST_SECONDS
        while time.monotonic() < end:
            pod = await self._pod(attached)
            if look_at(pod, waited=0.0, start_seconds=self._settings.start_seconds) == "ended":
                break
            await asyncio.sleep(LOOK_SECONDS)
        attached.unwanted = True
        raise JobFailedError("killed", "the container's program must run; the step ended it", retryable=True)

    async def _file(self, attached: Attached) -> StepResult | None:
        """Take the file that the container has left."""
        try:
            stream = await asyncio.to_thread(
                self._cluster.open, attached.name, STEWARD, [*PYTHON, f"{GIVEN}/steward.py", "talk"]
            )
            try:
                question = {"op": "take", "name": OUTPUT_FILE, "limit": result_max_bytes() + 1}
                answer, data = await asyncio.to_thread(lambda: stream.ask(question, seconds=SLACK_SECONDS))
            finally:
                stream.close()
        except StreamClosedError:
            await asyncio.sleep(LOOK_SECONDS)
            return None
        pod = await self._pod(attached)
        base = container(pod, BASE)
        ended = base.state.terminated if base is not None else None
        tail = await self._tail(attached)
        await self._show(attached, last=True)
        timing = await self._timing(attached)
        if ended is not None:
            timing.run = _between(ended.started_at, ended.finished_at)
            timing.result = _between(ended.finished_at, time.time())
        return result_of_file(self._job, answer, data, tail, timing)

    async def _show(self, attached: Attached, *, last: bool = False) -> None:
        """Show what a container has printed since; of steps that share a pod their keeper tells it."""
        if self._pool.show is None or not self._job.program.gives_file or attached.shown >= OUTPUT_LIMIT:
            return
        attached.looked = time.monotonic()
        output = await asyncio.to_thread(self._cluster.output, attached.name, BASE, OUTPUT_LIMIT)
        lines, attached.shown = new_lines(output, attached.shown, self._pool.mask, last=last)
        for line in lines:
            self._pool.show(line)

    def _printed(self, attached: Attached, tail: str) -> str:
        """Show what a step printed that shares its pod, which its keeper tells when it has ended; return it masked."""
        tail = self._pool.mask(tail)
        if self._pool.show is not None and attached.shown < OUTPUT_LIMIT:
            attached.shown += len(tail.encode())
            for line in last_lines(tail) + ([CUT] if attached.shown >= OUTPUT_LIMIT else []):
                self._pool.show(line)
        return tail

    async def _tail(self, attached: Attached) -> str:
        """Return the end of what a container printed, masked."""
        return self._pool.mask(await asyncio.to_thread(self._cluster.log_tail, attached.name, BASE, TAIL))

    async def _timing(self, attached: Attached) -> PodTiming:
        """Say where the time went until the pod ran, to the step that it was started for."""
        timing = PodTiming()
        if not attached.fresh:
            return timing
        attached.fresh = False
        with contextlib.suppress(PodFailedError):
            pod = await self._pod(attached)
            seen = moments(pod)
            claimed = warm.claimed_at(pod)
            if claimed is not None:
                timing.warm = _between(attached.asked, claimed)
                return timing
            timing.queued = _between(attached.asked, seen.created)
            timing.scheduled = _between(seen.created, seen.scheduled)
            timing.image = _between(seen.scheduled, seen.received)
            timing.start = _between(seen.received, seen.begun)
        return timing


def _is_living(pod: V1Pod) -> bool:
    """Tell whether a pod can still take a job."""
    base = container(pod, BASE)
    return pod.status.phase in ("Pending", "Running") and (base is None or base.state.terminated is None)


def _seconds_of(pod: V1Pod) -> float:
    created: datetime = pod.metadata.creation_timestamp
    return created.timestamp()


def _between(before: datetime | float | None, after: datetime | float | None) -> float:
    """Return milliseconds; 0 where either moment is not known."""
    if before is None or after is None:
        return 0.0
    first, second = (moment if isinstance(moment, float) else moment.timestamp() for moment in (before, after))
    return round(max(0.0, second - first) * 1000, 3)
