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
from operators.pods.cluster import Cluster, Stream, StreamClosedError
from operators.pods.failures import Phase, PodFailedError, container, look_at, moments
from operators.pods.inside import receive
from operators.pods.jobs import PodJob, failure_of_code, programs, result_of_file, result_of_keeper
from operators.pods.output import CUT, OUTPUT_LIMIT, SHOW_SECONDS, SHOWN, last_lines, new_lines
from operators.pods.pool import Attached, PodPool
from operators.pods.slot import JOB, LOOK_SECONDS, Slot, look_pause
from operators.pods.spec import BASE, GIVEN, OUTPUT_FILE, PYTHON, RECEIVER, STEWARD
from operators.sandbox.sandbox import JobFailedError
from operators.settings import result_max_bytes
from operators.steps.base import PodWatch, StepResult, Waiting

if TYPE_CHECKING:
    from kubernetes.client import V1Pod

LOST_SECONDS = 30.0
AGAIN_SECONDS = 5.0
"""The status of a container that took what was brought in lags behind."""
SLACK_SECONDS = 30.0
"""How much longer than asked an answer of the steward may take."""
TAIL = 1_000
WITH_TAIL = ("exit_code", "out_of_memory")
STILL_THERE = ("timeout", "start_timeout", "unschedulable")
"""Failures of a step whose container may be at work, or begin to."""
UNBEGUN_LIMIT = 3
"""How many pods may break with nothing at work in them until a job that waits in the next fails."""
T = TypeVar("T")


class _UnbegunError(Exception):
    """The pod broke before the job began in it.

    :param by_another: Whether another job did that, which fails for it.
    """

    def __init__(self, *, by_another: bool) -> None:
        super().__init__("not begun")
        self.by_another = by_another


class _NotReadyError(StreamClosedError):
    """The pod's program has not been ready yet."""


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
        self._slot = Slot(pool, cluster, settings, job, waiting)
        self._id = self._slot.id
        self.ran = 0.0
        """How long the job has run, in seconds."""

    async def run(self) -> StepResult | PodWatch:
        """Bring the job as far as it comes before this process has waited enough.

        :return: Its result, or what to wait for.
        """
        left = UNBEGUN_LIMIT
        while left:
            attached = await self._slot.attach()
            try:
                return await self._look(attached)
            except _UnbegunError as broken:
                attached.unwanted = True
                left -= not broken.by_another
            finally:
                attached.users.discard(self._id)
        message = f"the pod's own parts must run; {UNBEGUN_LIMIT} pods broke before the step began"
        raise PodFailedError("sandbox_error", message, retryable=True)

    async def _look(self, attached: Attached) -> StepResult | PodWatch:
        try:
            if not await self._has_turn(attached):
                return PodWatch(self._cluster.namespace, attached.name, attached.handed or self._id)
            try:
                return await self._take_turn(attached)
            finally:
                attached.turns.release()
        except PodFailedError as failure:
            attached.unwanted = True
            await self._show(attached, last=True)
            error: Exception = failure
            if failure.code in WITH_TAIL:
                error = failure_of_code(self._job, failure, await self._tail(attached))
            elif failure.code in STILL_THERE and self._job.program.gives_file:
                await asyncio.to_thread(self._cluster.delete, attached.name)
        raise error

    async def _has_turn(self, attached: Attached) -> bool:
        """Wait for a turn; tell whether there was one before this process has waited enough."""
        try:
            async with asyncio.timeout(max(0.0, self._end - time.monotonic())):
                return await attached.turns.acquire()
        except TimeoutError:
            return False

    async def _take_turn(self, attached: Attached) -> StepResult | PodWatch:
        while True:
            # A connection that was left open says that its pod runs; if it does not, the next round finds out.
            if not attached.idle:
                async with self._pool.lock(self._slot.name):
                    ready = await self._ready(attached)
                if not ready:
                    return await self._leave(attached)
            result = await (self._file(attached) if self._job.program.gives_file else self._talk(attached))
            if result is not None:
                return result
            if time.monotonic() >= self._end:
                return await self._leave(attached)

    async def _leave(self, attached: Attached) -> PodWatch:
        """Write down which job the pod has, so that whoever comes back learns what became of it, should it die."""
        if self._job.program.gives_file:
            await self._show(attached)
            await asyncio.to_thread(self._cluster.annotate, attached.name, SHOWN, str(attached.shown))
            return PodWatch(self._cluster.namespace, attached.name)
        await asyncio.to_thread(self._cluster.annotate, attached.name, JOB, self._id)
        return PodWatch(self._cluster.namespace, attached.name, self._id)

    # Bringing it to where it can take the job.

    async def _ready(self, attached: Attached) -> bool:
        """Bring in what the pod needs; tell whether it can be asked now, or False where there is no more time."""
        began = time.monotonic()
        while True:
            pod = await self._pod(attached)
            try:
                phase = self._phase(attached, pod)
            except PodFailedError:
                if not await self._is_told(attached, pod):
                    raise
                return True
            if phase == "receiving" and time.monotonic() - attached.brought > AGAIN_SECONDS:
                await asyncio.to_thread(self._bring_in, attached)
            elif phase == "ended" or (phase == "running" and not self._job.program.gives_file):
                return True
            elif phase == "running":
                self._check_time(pod)
                if time.monotonic() - attached.looked > SHOW_SECONDS:
                    await self._show(attached)
            now = time.monotonic()
            if now >= self._end:
                return False
            await asyncio.sleep(look_pause(now - began))

    def _phase(self, attached: Attached, pod: V1Pod) -> Phase:
        waited = time.time() - attached.made
        phase = look_at(pod, waited=waited, start_seconds=self._settings.start_seconds)
        if phase == "ended":
            self._after_end(pod)
        return phase

    async def _is_told(self, attached: Attached, pod: V1Pod) -> bool:
        """Tell whether the steward of a pod whose program has ended can say which of its jobs that concerns: others are
        done, or have not begun.

        :raises _UnbegunError: The program never ran, and this job has nothing to do with it.
        """
        base, steward = container(pod, BASE), container(pod, STEWARD)
        ended = base is not None and base.state.terminated is not None
        if self._job.program.gives_file or not ended or steward is None or steward.state.running is None:
            return False
        try:
            attached.idle.append(await self._talking(attached, 0.0))
        except _NotReadyError:
            if not self._slot.is_known_to(pod):
                raise _UnbegunError(by_another=False) from None
            return False
        except StreamClosedError:
            # Whoever talks to it next tries again.
            await asyncio.sleep(LOOK_SECONDS)
        return True

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
            attached.unwanted = True
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
        if state == "unbegun":
            raise _UnbegunError(by_another=bool(answer.get("lost")))
        self.ran = float(answer.get("seconds", 0.0))
        if state != "done":
            await self._note_waiting(attached, state)
            return None
        attached.done.add(self._id)
        timing = await self._timing(attached)
        timing.result = round(float(answer["age"]) * 1000, 3)
        return result_of_keeper(self._job, result, timing, partial(self._printed, attached))

    async def _note_waiting(self, attached: Attached, state: str) -> None:
        if state in ("queued", "running"):
            attached.handed = self._id
        else:
            # It had no room for the request.
            await asyncio.sleep(LOOK_SECONDS)

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
        return await self._talking(attached, max(1.0, self._end - time.monotonic()))

    async def _talking(self, attached: Attached, seconds: float) -> Stream:
        """Return a connection with the steward of a pod whose program has been ready.

        :param seconds: How long to wait for that.
        :raises _NotReadyError: It has not.
        :raises StreamClosedError: The steward cannot be reached.
        """
        command = [*PYTHON, f"{GIVEN}/steward.py", "talk"]
        stream = await asyncio.to_thread(self._cluster.open, attached.name, STEWARD, command)
        ready, _ = await self._cancellable(
            stream, lambda: stream.ask({"op": "ready", "seconds": seconds}, seconds=seconds + SLACK_SECONDS)
        )
        if not ready["ready"]:
            stream.close()
            raise _NotReadyError("the pod's program is not ready")
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
            timing.start = _between(seen.scheduled, seen.received)
            timing.image = _between(seen.received, seen.begun)
        return timing


def _between(before: datetime | float | None, after: datetime | float | None) -> float:
    """Return milliseconds; 0 where either moment is not known."""
    if before is None or after is None:
        return 0.0
    first, second = (moment if isinstance(moment, float) else moment.timestamp() for moment in (before, after))
    return round(max(0.0, second - first) * 1000, 3)
