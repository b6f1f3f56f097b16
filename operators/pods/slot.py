"""A job's place in its unit: the pod that it is in, one that takes it, or a new one; never two at once."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from operators.execution.records import PodSettings
from operators.pods import warm
from operators.pods.cluster import Cluster, ClusterError
from operators.pods.failures import PodFailedError, container
from operators.pods.jobs import PodJob
from operators.pods.output import shown_bytes
from operators.pods.pool import Attached, PodPool
from operators.pods.spec import LABEL, SLOT, STEWARD, Place, build_pod, digest, pod_name, selector, unit_labels
from operators.steps.base import Waiting

if TYPE_CHECKING:
    from kubernetes.client import V1Pod

P = ParamSpec("P")
T = TypeVar("T")

LOOK_SECONDS = 0.1
LONGEST_LOOK_SECONDS = 1.0
GONE_SECONDS = 120.0
"""A node with much to do may need a minute for a pod that was deleted while it started."""
LONGEST_ROOM_SECONDS = 30.0
ROOM_SECONDS = 5.0
"""How far the quota's count may be behind: a pod that is gone may still be in it."""
ROOM_LOOK_SECONDS = 0.5
JOB = LABEL + "job"
"""Annotation: the job that a pod had when its worker gave itself back."""


class Slot:
    """The place of one job."""

    def __init__(self, pool: PodPool, cluster: Cluster, settings: PodSettings, job: PodJob, waiting: Waiting) -> None:
        self._pool = pool
        self._cluster = cluster
        self._settings = settings
        self._job = job
        self._waiting = waiting
        self._kind = warm.kind_for(job, settings)
        self.id = digest(str(waiting))
        """The job's: another one for each attempt."""
        self.name = job.slot_of(waiting)
        self._place = Place(waiting.key.execution_id, waiting.key.epoch, pool.unit, self.name)
        self._labels = self._place.labels(job.pod.network)

    async def attach(self) -> Attached:
        """Return the pod for the job; the job is among its users then."""
        while True:
            async with self._pool.lock(self.name):
                known = self._pool.slots.get(self.name)
                if known is not None and known.unwanted and not known.users:
                    await self._drop(known)
                    known = None
                if known is None or not known.unwanted:
                    attached = known or await self._found_or_started()
                    attached.users.add(self.id)
                    return attached
            # Jobs that it still has may be done, or have to learn why it broke.
            await asyncio.sleep(LOOK_SECONDS)

    def is_first_of(self, pod: V1Pod) -> bool:
        """Tell whether a pod was started or claimed for this job."""
        return pod.metadata.name == pod_name(self._place, self.id) or warm.notes(pod).get(warm.CLAIMED) == self.id

    def is_known_to(self, pod: V1Pod) -> bool:
        """Tell whether a pod has had this job, as far as is written on it."""
        return self.is_first_of(pod) or warm.notes(pod).get(JOB) == self.id

    async def _found_or_started(self) -> Attached:
        asked = (self._waiting.started_at or datetime.now(UTC)).timestamp()
        found = await self._found()
        while found is None or warm.needs_settling(found):
            if found is None:
                found = await self._start()
            if warm.needs_settling(found):
                found = await asyncio.to_thread(warm.settle, self._cluster, self._labels)
        made: datetime = found.metadata.creation_timestamp
        attached = Attached(found.metadata.name, made.timestamp(), asked, fresh=self.is_first_of(found))
        attached.shown = shown_bytes(found.metadata.annotations)
        attached.step_id = self._waiting.key.step_id if self._job.program.gives_file else None
        self._pool.slots[self.name] = attached
        return attached

    async def _found(self) -> V1Pod | None:
        """Return the pod that has this job, or one that takes it. Where there is none, remove the others of the place,
        such as that of the attempt before, and wait until they are gone."""
        pods = await asyncio.to_thread(self._cluster.find, selector(self._labels))
        staying = [pod for pod in pods if pod.metadata.deletion_timestamp is None]
        taking = [pod for pod in staying if self.is_known_to(pod) or self._takes(pod)]
        if taking:
            return min(taking, key=lambda pod: not self.is_first_of(pod))
        for pod in staying:
            await asyncio.to_thread(self._cluster.delete, pod.metadata.name)
        for pod in pods:
            await self._gone(pod.metadata.name)
        return None

    def _takes(self, pod: V1Pod) -> bool:
        """Tell whether a pod takes this job, or whether there is somebody in it who knows what became of it."""
        if self._job.program.gives_file or pod.status.phase not in ("Pending", "Running"):
            return False
        steward = container(pod, STEWARD)
        return steward is None or steward.state.terminated is None

    async def _start(self) -> V1Pod:
        """Return a pod for this job: a warm one, where there is one, or a new one."""
        deadline = self._pool.deadline_seconds
        if self._kind is not None:
            claimed = await to_its_end(
                warm.claim, self._cluster, self._kind, self._settings, self._place, self.id, deadline
            )
            if claimed is not None:
                self._pool.meanwhile(warm.replace, self._cluster, self._kind, self._settings)
                return claimed
        name = pod_name(self._place, self.id)
        pod = build_pod(name, self._labels, self._job.pod, self._job.program, self._settings, deadline)
        if self._kind is not None:
            # Somebody else may have claimed one for the same job.
            pod.metadata.annotations = {warm.CLAIMED: self.id}
        return await self._create(pod)

    async def _create(self, pod: V1Pod) -> V1Pod:
        """Start a pod. Where the quota has no room, pods that nobody needs make way, and those on their way out are
        waited for: they count until they are gone, and a moment longer."""
        began = time.monotonic()
        last_left = began
        while True:
            try:
                return await to_its_end(self._cluster.create, pod)
            except PodFailedError as refusal:
                now = time.monotonic()
                if not refusal.retryable or now > began + LONGEST_ROOM_SECONDS or now > last_left + ROOM_SECONDS:
                    raise
            await asyncio.to_thread(self._let_go_of_ended)
            for each in await asyncio.to_thread(warm.make_room, self._cluster):
                # One that does not go, of another step even, is no reason but the refusal.
                with contextlib.suppress(ClusterError):
                    await self._gone(each)
                    last_left = time.monotonic()
            await asyncio.sleep(ROOM_LOOK_SECONDS)

    def _let_go_of_ended(self) -> None:
        """Delete the pods that steps had alone whose records the journal has: a worker that was lost between may have
        left them."""
        key = self._waiting.key
        slots = {digest(str(replace(key, step_id=step_id))) for step_id in self._pool.ended}
        for pod in self._cluster.find(selector(unit_labels(key.execution_id, self._pool.unit))):
            if pod.metadata.labels[SLOT] in slots and pod.metadata.deletion_timestamp is None:
                self._cluster.delete(pod.metadata.name)

    async def _drop(self, known: Attached) -> None:
        """Remove a pod that is of no more use."""
        self._pool.slots.pop(self.name, None)
        while known.idle:
            known.idle.pop().close()
        await asyncio.to_thread(self._cluster.delete, known.name)
        await self._gone(known.name)

    async def _gone(self, name: str) -> None:
        """Wait until a pod that is being deleted is gone: two of a step never run at once."""
        began = time.monotonic()
        while (passed := time.monotonic() - began) < GONE_SECONDS:
            pod = await asyncio.to_thread(self._cluster.get, name)
            if pod is None or pod.metadata.deletion_timestamp is None:
                return
            await asyncio.sleep(look_pause(passed))
        raise ClusterError("a pod that was deleted does not go")


def look_pause(passed: float) -> float:
    """Return how long to wait for the next look at a pod: many pods at ten looks a second each would be much for an API
    server, and a tenth more is little for who has waited so long.

    :param passed: For how long it has been looked at, in seconds.
    """
    return min(LONGEST_LOOK_SECONDS, max(LOOK_SECONDS, passed / 10))


async def to_its_end(function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """Call something in a thread that whoever is cancelled waits for: a pod that starts then is there for the next
    look, which removes it. Else it would start unseen beside that of the next attempt."""
    call = asyncio.ensure_future(asyncio.to_thread(function, *arguments, **options))
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        await asyncio.wait([call])
        raise
