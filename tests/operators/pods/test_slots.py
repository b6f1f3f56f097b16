"""Finding or starting a job's pod where others of its place are there, or on their way out. The server is played."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from kubernetes import client as k8s

from operators.execution.records import PodSettings
from operators.pods import slot as slots
from operators.pods.cluster import LISTED, Cluster
from operators.pods.failures import PodFailedError
from operators.pods.jobs import PodJob
from operators.pods.pool import Attached, PodPool
from operators.pods.slot import Slot
from operators.pods.spec import BASE, STEWARD
from operators.steps.base import StepKey, Waiting
from tests.operators.pods.test_warm_pods import PYTHON, job_of

pytestmark = pytest.mark.unit

SETTINGS = PodSettings(namespace="agent-factory-acme", runner_image="runner:1")
WAITING = Waiting(StepKey("01990000-0000-7000-8000-000000000001", 0, "a"), datetime.now(UTC))
CODE = job_of(PYTHON)
ALONE = replace(CODE, program=replace(CODE.program, gives_file=True))
FULL = PodFailedError("unschedulable", "exceeded quota", retryable=True)


class Server:
    """Has pods, which take some looks to go; notes how many there were when one was started.

    :param looks: After how many a pod that is deleted is gone.
    :param most: How many it takes.
    """

    def __init__(self, *, looks: int = 3, most: int = 99) -> None:
        self.pods: dict[str, k8s.V1Pod] = {}
        self.others: list[int] = []
        self._left: dict[str, int] = {}
        self._looks = looks
        self._most = most
        self.refused = 0

    def find(self, selector: str) -> list[k8s.V1Pod]:
        wanted = [part.partition("=")[::2] for part in selector.split(",")]
        return [
            pod for pod in self.pods.values() if all(pod.metadata.labels.get(name) == value for name, value in wanted)
        ]

    def get(self, name: str) -> k8s.V1Pod | None:
        if name in self._left:
            self._left[name] -= 1
            if self._left[name] == 0:
                del self.pods[name], self._left[name]
        return self.pods.get(name)

    def create(self, pod: k8s.V1Pod) -> k8s.V1Pod:
        if len(self.pods) >= self._most:
            self.refused += 1
            raise FULL
        pod.metadata.creation_timestamp = datetime.now(UTC)
        self.others.append(len(self.pods))
        return self.pods.setdefault(pod.metadata.name, has(pod, BASE, STEWARD))

    def delete(self, name: str) -> None:
        if name in self.pods:
            self.pods[name].metadata.deletion_timestamp = datetime.now(UTC)
            self._left.setdefault(name, self._looks)


def has(pod: k8s.V1Pod, *running: str) -> k8s.V1Pod:
    """Let these containers of a pod run; the others have ended."""
    states = {True: k8s.V1ContainerState(running=k8s.V1ContainerStateRunning()),
              False: k8s.V1ContainerState(terminated=k8s.V1ContainerStateTerminated(exit_code=0))}  # fmt: skip
    statuses = [
        k8s.V1ContainerStatus(
            name=name, image="i", image_id="i", ready=True, restart_count=0, state=states[name in running]
        )
        for name in (BASE, STEWARD)
    ]
    pod.status = k8s.V1PodStatus(phase="Running" if running else "Succeeded", container_statuses=statuses)
    return pod


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOOK_SECONDS", "ROOM_LOOK_SECONDS"):
        monkeypatch.setattr(slots, name, 0.001)
    monkeypatch.setattr(slots, "ROOM_SECONDS", 0.05)


class Worker:
    """A process that looks at jobs."""

    def __init__(self, server: Server) -> None:
        async def settings() -> PodSettings:
            return SETTINGS

        self._cluster = cast("Cluster", server)
        self.pool = PodPool(lambda namespace: self._cluster, settings, unit="segment.a", deadline_seconds=60)

    def slot(self, job: PodJob, attempt: int = 1, step_id: str = "a") -> Slot:
        waiting = replace(WAITING, attempt=attempt, key=replace(WAITING.key, step_id=step_id))
        return Slot(self.pool, self._cluster, SETTINGS, job, waiting)

    def attach(self, job: PodJob, attempt: int = 1, step_id: str = "a") -> Attached:
        return asyncio.run(self.slot(job, attempt, step_id).attach())


class TestAlone:
    def test_an_attempt_waits_until_the_pod_of_the_one_before_is_gone(self) -> None:
        server = Server()
        first = Worker(server).attach(ALONE)
        # By a worker that knows of nothing, with the first still at work.
        second = Worker(server).attach(ALONE, attempt=2)
        assert first.name != second.name
        assert (set(server.pods), server.others) == ({second.name}, [0, 0])

    async def test_an_attempt_that_ends_as_its_pod_starts_leaves_none_unseen(self) -> None:
        """Its time-out comes while the API server makes the pod: the next attempt must find it, to remove it."""
        server, begun, go_on = Server(), threading.Event(), threading.Event()

        def create(pod: k8s.V1Pod) -> k8s.V1Pod:
            begun.set()
            assert go_on.wait(10)
            return Server.create(server, pod)

        server.create = create  # type: ignore[method-assign]
        worker = Worker(server)
        first = asyncio.create_task(worker.slot(ALONE).attach())
        assert await asyncio.to_thread(begun.wait, 10)
        first.cancel()
        second = asyncio.create_task(worker.slot(ALONE, attempt=2).attach())
        # Neither is over, however long the server takes.
        assert await asyncio.wait([first, second], timeout=0.1) == (set(), {first, second})
        go_on.set()
        name = (await second).name
        assert first.cancelled()
        assert (set(server.pods), server.others) == ({name}, [0, 0])

    def test_it_is_found_again(self) -> None:
        server = Server()
        assert Worker(server).attach(ALONE).name == Worker(server).attach(ALONE).name

    def test_steps_do_not_share(self) -> None:
        worker = Worker(server := Server())
        assert worker.attach(ALONE, step_id="a[0]").name != worker.attach(ALONE, step_id="a[4]").name
        assert len(server.pods) == 2


class TestShared:
    def test_a_pod_that_is_on_its_way_out_is_waited_for(self) -> None:
        server = Server()
        server.delete(Worker(server).attach(CODE).name)
        later = Worker(server).attach(CODE, step_id="b")
        assert (set(server.pods), server.others) == ({later.name}, [0, 0])

    def test_one_whose_program_has_ended_is_asked_as_long_as_its_steward_runs(self) -> None:
        server = Server()
        first = Worker(server).attach(CODE)
        has(server.pods[first.name], STEWARD)
        assert Worker(server).attach(CODE, step_id="b").name == first.name
        has(server.pods[first.name])
        later = Worker(server).attach(CODE, step_id="b")
        assert (set(server.pods), server.others) == ({later.name}, [0, 0])

    def test_a_broken_pod_stays_while_others_look_at_it(self) -> None:
        worker = Worker(server := Server())
        first = worker.attach(CODE)
        worker.attach(CODE, step_id="b")
        first.unwanted = True

        async def leave() -> None:
            await asyncio.sleep(0.02)
            assert set(server.pods) == {first.name}
            first.users.clear()

        async def both() -> Attached:
            slot = Slot(worker.pool, cast("Cluster", server), SETTINGS, CODE, replace(WAITING, attempt=2))
            return (await asyncio.gather(slot.attach(), leave()))[0]

        later = asyncio.run(both())
        assert (set(server.pods), server.others) == ({later.name}, [0, 0])


class TestRoom:
    def test_pods_on_their_way_out_make_room(self) -> None:
        worker = Worker(server := Server(most=1))
        server.delete(worker.attach(ALONE, step_id="a[0]").name)
        assert worker.attach(ALONE, step_id="a[1]").name in server.pods
        assert server.refused == 1

    def test_what_a_worker_left_that_was_lost_makes_room(self) -> None:
        """It had journaled what came of the step, and not deleted its pod yet."""
        server = Server(most=2)
        ended, at_work = (Worker(server).attach(ALONE, step_id=step_id) for step_id in ("a[0]", "a[1]"))
        worker = Worker(server)
        worker.pool.journaled(["a[0]", "b"])
        later = worker.attach(ALONE, step_id="a[2]")
        assert set(server.pods) == {at_work.name, later.name}
        assert ended.name not in server.pods

    def test_the_count_may_be_behind(self) -> None:
        server = Server(most=0)

        def create(pod: k8s.V1Pod) -> k8s.V1Pod:
            server._most = server.refused
            return Server.create(server, pod)

        server.create = create  # type: ignore[method-assign]
        assert Worker(server).attach(ALONE).name in server.pods
        assert server.refused == 1

    def test_where_nothing_goes_it_is_refused(self) -> None:
        with pytest.raises(PodFailedError) as refusal:
            Worker(Server(most=0)).attach(ALONE)
        assert refusal.value is FULL

    def test_one_that_does_not_go_is_no_other_reason(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(slots, "GONE_SECONDS", 0.05)
        worker = Worker(server := Server(most=1, looks=1_000_000))
        server.delete(worker.attach(ALONE, step_id="a[0]").name)
        with pytest.raises(PodFailedError) as refusal:
            worker.attach(ALONE, step_id="a[1]")
        assert refusal.value is FULL


def test_all_pages_are_read() -> None:
    pages = {"": "one", "one": "two", "two": ""}
    asked: list[dict[str, Any]] = []

    def list_namespaced_pod(namespace: str, **options: Any) -> Any:
        asked.append(options)
        page = pages[options.get("_continue", "")]
        return SimpleNamespace(items=[f"after {page}"], metadata=SimpleNamespace(_continue=page or None))

    api = cast("Any", SimpleNamespace(list_namespaced_pod=list_namespaced_pod))
    assert Cluster(api, "n").find("a=b") == ["after one", "after two", "after "]
    assert [(each["limit"], each["label_selector"]) for each in asked] == [(LISTED, "a=b")] * 3


@pytest.mark.parametrize(("passed", "pause"), [(0, 0.1), (0.9, 0.1), (4, 0.4), (3_600, 1.0)])
def test_the_longer_a_pod_takes_the_less_often_one_looks(
    passed: float, pause: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "LOOK_SECONDS", 0.1)
    assert slots.look_pause(passed) == pause
