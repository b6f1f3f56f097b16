"""The pods of one unit: a step's job is done in one, and whoever looks again, in another process too, finds it there.

Code steps that follow each other share a pod; each gets a process of its own in it. Everything here is named by the
execution, so that a worker which takes over finds the pod of the one before and starts no second.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ParamSpec

from compiler.images import image_refusal
from operators.execution.records import PodSettings
from operators.pods.cluster import Cluster, ClusterError, Stream
from operators.pods.failures import PodFailedError
from operators.pods.jobs import PodJob
from operators.pods.masking import Masker
from operators.pods.spec import TALKS, digest, selector, unit_labels
from operators.sandbox.sandbox import JobFailedError
from operators.steps.base import StepResult, Waiting, Wake

LATEST_LOOK_SECONDS = 300.0
"""How long a step that gave its worker back at most sleeps, should nobody tell of its pod."""
P = ParamSpec("P")
GRACE_SECONDS = 5.0
"""How much longer than a step's time-out we wait for its end: the pod's keeper ends it first."""


@dataclass
class Attached:
    """A pod that this process knows.

    :param made: When it was made, in seconds since 1970.
    :param asked: When its first step began.
    :param fresh: Whether the next result is of the step that it was started for.
    :param brought: When this process last brought files in, by the monotonic clock.
    :param unwanted: It takes no more jobs.
    :param step_id: The step that alone it is for; None where steps share it.
    :param users: Jobs that are looked at in it now.
    :param turns: For those of them that are handed over.
    :param handed: The job that was handed over last.
    :param done: Jobs that came to their end in it.
    :param shown: How many bytes of its output are in the log.
    :param looked: When its output was last looked at, by the monotonic clock.
    :param idle: Connections with its steward that nobody uses.
    """

    name: str
    made: float
    asked: float
    fresh: bool
    brought: float = float("-inf")
    unwanted: bool = False
    step_id: str | None = None
    users: set[str] = field(default_factory=set)
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(TALKS))
    handed: str | None = None
    done: set[str] = field(default_factory=set)
    idle: list[Stream] = field(default_factory=list)
    shown: int = 0
    looked: float = float("-inf")


class PodPool:
    """Pods of one unit.

    :param connect: Makes the client of the API server for a namespace; called once, in a thread.
    :param settings: Asks how pods are made.
    :param deadline_seconds: How long a pod of the unit may be needed in all.
    """

    def __init__(
        self,
        connect: Callable[[str], Cluster],
        settings: Callable[[], Awaitable[PodSettings]],
        *,
        unit: str,
        deadline_seconds: float,
    ) -> None:
        self._connect = connect
        self._ask_settings = settings
        self._opening = asyncio.Lock()
        self._open: tuple[PodSettings, Cluster] | None = None
        self._meanwhile: set[asyncio.Task[object]] = set()
        self._locks: dict[str, asyncio.Lock] = {}
        self.unit = unit
        self.deadline_seconds = deadline_seconds
        self.slots: dict[str, Attached] = {}
        self.ended: set[str] = set()
        """Steps whose final records the journal has."""
        self._execution_id: str | None = None
        self.show: Callable[[str], None] | None = None
        """Takes the lines that containers print; None: nobody reads them."""
        self.secrets: Callable[[], Awaitable[Sequence[str]]] | None = None
        """Asks for what must be masked in what containers print; None: nothing is known."""
        self.mask = Masker()

    async def look(self, job: PodJob, waiting: Waiting, now: datetime) -> StepResult | Wake:
        """Have a job done, if that has not begun, and look how it stands.

        :param now: As the step's clock says.
        :raises PodFailedError: Its pod gave no result.
        :raises JobFailedError: The code gave none.
        :raises ClusterError: The API server stayed away.
        """
        from operators.pods.visit import Visit

        began = time.monotonic()
        self._execution_id = waiting.key.execution_id
        settings, cluster = await self._opened()
        refusal = image_refusal(job.pod.image, settings.images, digests=settings.digests)
        if refusal is not None:
            raise PodFailedError("image_not_allowed", f"image {job.pod.image!r} {refusal}", retryable=False)
        visit = Visit(self, cluster, settings, job, waiting, began + settings.hold_seconds)
        try:
            seen = await visit.run()
        except (PodFailedError, JobFailedError) as error:
            # What code raises, and what an image is asked to run, may be in the words of its failure.
            error.message = self.mask(error.message)
            error.args = (error.message,)
            raise
        if isinstance(seen, StepResult):
            return seen
        moment = now + timedelta(seconds=time.monotonic() - began)
        since = moment - timedelta(seconds=max(0.0, visit.ran - GRACE_SECONDS))
        return Wake(until=moment + timedelta(seconds=LATEST_LOOK_SECONDS), since=since, pods=(seen,))

    async def abandon(self, job: PodJob, waiting: Waiting) -> None:
        """Note that nobody waits for a job any more: its pod takes no other. It goes when the unit is over, or when
        the next job needs one; not before, for whoever took over this unit may be using it."""
        attached = self.slots.get(job.slot_of(waiting))
        if attached is not None and digest(str(waiting)) not in attached.done:
            attached.unwanted = True

    def journaled(self, step_ids: Iterable[str]) -> None:
        """Let go of the pods that these steps had alone: what came of them is in the journal now, and not before, for
        whoever goes on after a crash must find it in the pod."""
        ended = set(step_ids)
        self.ended |= ended
        for slot, attached in list(self.slots.items()):
            if attached.step_id in ended:
                del self.slots[slot]
                self.meanwhile(self._let_go, attached.name)

    def _let_go(self, name: str) -> None:
        assert self._open is not None, "a pod that is known was found or started"
        with contextlib.suppress(ClusterError):
            # Else it goes with the unit.
            self._open[1].delete(name)

    async def remove(self, execution_id: str) -> int:
        """Remove every pod of the unit: it is over. Return how many there were."""
        _, cluster = await self._opened()
        return await asyncio.to_thread(self._remove, cluster, execution_id)

    def end(self) -> None:
        """Remove every pod of the unit from where nothing can be awaited; what cannot be removed now, upkeep finds."""
        if self._open is not None and self._execution_id is not None:
            _, cluster = self._open
            with contextlib.suppress(ClusterError):
                self._remove(cluster, self._execution_id)

    def _remove(self, cluster: Cluster, execution_id: str) -> int:
        pods = cluster.find(selector(unit_labels(execution_id, self.unit)))
        for pod in pods:
            cluster.delete(pod.metadata.name)
        return len(pods)

    def meanwhile(self, function: Callable[P, object], *arguments: P.args, **options: P.kwargs) -> None:
        """Call something in a thread that no job waits for; :meth:`close` does."""
        task = asyncio.create_task(asyncio.to_thread(function, *arguments, **options))
        self._meanwhile.add(task)
        task.add_done_callback(self._meanwhile.discard)

    async def close(self) -> None:
        """Leave the pods; they go on."""
        await asyncio.gather(*self._meanwhile, return_exceptions=True)
        for attached in self.slots.values():
            while attached.idle:
                await asyncio.to_thread(attached.idle.pop().close)

    def lock(self, slot: str) -> asyncio.Lock:
        """Return the lock of whoever looks for a slot's pod."""
        return self._locks.setdefault(slot, asyncio.Lock())

    async def _opened(self) -> tuple[PodSettings, Cluster]:
        async with self._opening:
            if self._open is None:
                settings = await self._ask_settings()
                if self.secrets is not None:
                    self.mask = Masker(await self.secrets())
                self._open = settings, await asyncio.to_thread(self._connect, settings.namespace)
            return self._open
