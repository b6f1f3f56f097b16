"""Workers that do not know of each other, at one step: whatever the order of their calls, they end up with one pod.

What the API server promises is simulated here (a change holds only for what was read), so that many orders can be gone
through. ``tests/kubernetes/test_warm_pods.py`` does the same on a cluster, in the orders that come up.
"""

from __future__ import annotations

import asyncio
import copy
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from kubernetes import client as k8s

from compiler.planning import limits_of
from operators.execution.records import PodSettings, WarmPods
from operators.pods import warm
from operators.pods.cluster import Cluster
from operators.pods.pool import Attached, PodPool
from operators.pods.slot import Slot
from operators.pods.spec import BASE, STEWARD
from operators.steps.base import StepKey, Waiting
from tests.operators.pods.test_warm_pods import PYTHON, job_of

pytestmark = pytest.mark.unit

KIND = WarmPods(image="python:3.11-slim", network="none", limits=limits_of(None), size=2)
SETTINGS = PodSettings(namespace="agent-factory-acme", runner_image="runner:1", warm=[KIND])
ORDERS = 25


class Turns:
    """Lets workers make one call at a time, in an order that a seed decides."""

    def __init__(self, seed: int, workers: int) -> None:
        self._random = random.Random(seed)
        self._changed = threading.Condition()
        self._waiting: set[int] = set()
        self._alive = workers
        self._turn: int | None = None

    def take(self, worker: int) -> None:
        """Wait for the worker's turn."""
        with self._changed:
            self._waiting.add(worker)
            self._choose()
            self._changed.wait_for(lambda: self._turn == worker)
            self._turn = None
            self._waiting.discard(worker)

    def leave(self) -> None:
        """Note that a worker is done."""
        with self._changed:
            self._alive -= 1
            self._choose()

    def _choose(self) -> None:
        # Only where each of them waits: so nothing but the seed decides.
        if self._turn is None and self._waiting and len(self._waiting) == self._alive:
            self._turn = self._random.choice(sorted(self._waiting))
            self._changed.notify_all()


class Server:
    """The pods of a namespace, as the API server keeps them."""

    def __init__(self) -> None:
        self.pods: dict[str, k8s.V1Pod] = {}
        self._version = 0

    def put(self, pod: k8s.V1Pod) -> k8s.V1Pod:
        """Store a pod as it is now."""
        self._version += 1
        stored = copy.deepcopy(pod)
        stored.metadata.resource_version = str(self._version)
        stored.metadata.uid = stored.metadata.uid or f"uid-{self._version}"
        stored.metadata.creation_timestamp = datetime.now(UTC)
        running = k8s.V1ContainerState(running=k8s.V1ContainerStateRunning())
        stored.status = k8s.V1PodStatus(
            phase="Running",
            container_statuses=[
                k8s.V1ContainerStatus(name=name, image="x", image_id="x", ready=True, restart_count=0, state=running)
                for name in (BASE, STEWARD)
            ],
        )
        self.pods[pod.metadata.name] = stored
        return copy.deepcopy(stored)


class Worker:
    """A worker's way to the server; what :class:`Cluster` has."""

    namespace = SETTINGS.namespace

    def __init__(self, number: int, server: Server, turns: Turns) -> None:
        self._number = number
        self._server = server
        self._turns = turns

    def find(self, selector: str) -> list[k8s.V1Pod]:
        self._turns.take(self._number)
        wanted = dict(part.partition("=")[::2] for part in selector.split(","))
        return [
            copy.deepcopy(pod) for pod in self._server.pods.values() if wanted.items() <= pod.metadata.labels.items()
        ]

    def get(self, name: str) -> k8s.V1Pod | None:
        self._turns.take(self._number)
        return copy.deepcopy(self._server.pods.get(name))

    def create(self, pod: k8s.V1Pod) -> k8s.V1Pod:
        self._turns.take(self._number)
        return copy.deepcopy(self._server.pods.get(pod.metadata.name)) or self._server.put(pod)

    def change(self, pod: k8s.V1Pod, patch: dict[str, Any]) -> k8s.V1Pod | None:
        self._turns.take(self._number)
        there = self._unchanged(pod)
        if there is None:
            return None
        metadata = patch["metadata"]
        labels = {**there.metadata.labels, **metadata.get("labels", {})}
        there.metadata.labels = {name: value for name, value in labels.items() if value is not None}
        there.metadata.annotations = {**(there.metadata.annotations or {}), **metadata.get("annotations", {})}
        return self._server.put(there)

    def delete_unchanged(self, pod: k8s.V1Pod) -> bool:
        self._turns.take(self._number)
        if pod.metadata.name in self._server.pods and self._unchanged(pod) is None:
            return False
        self._server.pods.pop(pod.metadata.name, None)
        return True

    def delete(self, name: str) -> None:
        self._turns.take(self._number)
        self._server.pods.pop(name, None)

    def _unchanged(self, pod: k8s.V1Pod) -> k8s.V1Pod | None:
        there = self._server.pods.get(pod.metadata.name)
        same = there is not None and there.metadata.resource_version == pod.metadata.resource_version
        return there if same else None


class Pool(PodPool):
    """A pool whose replacements nobody waits for here."""

    def meanwhile(self, function: Any, *arguments: Any, **options: Any) -> None:
        """Leave it out: the orders are of the calls that decide whose a pod is."""


def attach(worker: Worker, turns: Turns) -> Attached:
    """Have a worker look for the step's pod, as it does when it begins."""

    async def settings() -> PodSettings:
        return SETTINGS

    cluster = cast("Cluster", worker)
    pool = Pool(lambda namespace: cluster, settings, unit="segment.a", deadline_seconds=60)
    waiting = Waiting(StepKey("01990000-0000-7000-8000-000000000001", 0, "a"), datetime.now(UTC))
    try:
        return asyncio.run(Slot(pool, cluster, SETTINGS, job_of(PYTHON), waiting).attach())
    finally:
        turns.leave()


def race(seed: int, idle: int) -> tuple[Server, set[str]]:
    """Have three workers begin at once; return the pods that there are, and the names of those that they use."""
    server, turns = Server(), Turns(seed, 3)
    for _ in range(idle):
        server.put(warm.warm_pod(KIND, SETTINGS))
    with ThreadPoolExecutor(3) as threads:
        attached = threads.map(lambda number: attach(Worker(number, server, turns), turns), range(3))
        return server, {each.name for each in attached}


@pytest.mark.parametrize("idle", [0, 1, 3])
def test_in_every_order(idle: int) -> None:
    kinds = set()
    for seed in range(ORDERS):
        server, used = race(seed, idle)
        settled = {pod.metadata.name for pod in server.pods.values() if warm.is_settled(pod)}
        assert used == settled, seed
        assert len(used) == 1, seed
        kinds.add(used.pop().startswith("af-warm-"))
    assert (True in kinds) is (idle > 0)
