"""The Airflow operator of units in pods, against a runtime API on a loopback port and pods that nobody runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, TaskDeferred
from kubernetes import client as k8s

from compiler.plan import Plan
from operators.execution.http import HttpStore
from operators.execution.records import PodSettings
from operators.pods.cluster import ClusterError
from operators.tasks.plan_file import PlanFile
from operators.tasks.pod import PodOperator
from operators.tasks.pod_trigger import PodTrigger
from operators.tasks.quiet import CLUSTER_LOGGERS
from operators.tasks.segment import SegmentOperator
from tests.kubernetes.cluster import compiled
from tests.operators.execution.plans import plan_of, step
from tests.operators.tasks.test_segment_operator import World
from tests.stubs.http_server import HttpServer
from tests.stubs.runtime_api import TOKEN

pytestmark = pytest.mark.unit

MARKER = "tenant-marker-90c4"
SETTINGS = PodSettings(namespace="agent-factory-acme", runner_image="runner:1", hold_seconds=0.5)


class Pods:
    """A namespace whose pods run, and never end."""

    namespace = SETTINGS.namespace

    def __init__(self) -> None:
        self.names: dict[str, k8s.V1Pod] = {}
        self.created = 0
        self.slow_from = 1_000
        """From which pod on it takes until ``go_on`` to start one."""
        self.go_on = threading.Event()
        self.is_away = False

    def create(self, pod: k8s.V1Pod) -> k8s.V1Pod:
        self.created += 1
        if self.created >= self.slow_from:
            assert self.go_on.wait(20)
        running = k8s.V1ContainerState(running=k8s.V1ContainerStateRunning(started_at=datetime.now(UTC)))
        base = k8s.V1ContainerStatus(name="base", image="x", image_id="x", ready=True, restart_count=0, state=running)
        pod.status = k8s.V1PodStatus(phase="Running", container_statuses=[base])
        pod.metadata.creation_timestamp = datetime.now(UTC)
        self.names[pod.metadata.name] = pod
        return pod

    def get(self, name: str) -> k8s.V1Pod | None:
        return self.names.get(name)

    def find(self, selector: str) -> list[k8s.V1Pod]:
        if self.is_away:
            raise ClusterError("it is away")
        wanted = dict(part.split("=") for part in selector.split(","))
        return [pod for pod in list(self.names.values()) if wanted.items() <= pod.metadata.labels.items()]

    def delete(self, name: str) -> None:
        self.names.pop(name, None)

    def annotate(self, name: str, key: str, value: str) -> None:
        """Nobody asks for it."""

    def output(self, name: str, container: str, size: int) -> bytes:
        return b""


@pytest.fixture
def pods(monkeypatch: pytest.MonkeyPatch) -> Pods:
    pods = Pods()

    async def settings(store: HttpStore, execution_id: str) -> PodSettings:
        return SETTINGS

    def cluster(operator: PodOperator, organization: str, namespace: str) -> Pods:
        operator.kubernetes_conn_id = "connection"
        return pods

    monkeypatch.setattr(HttpStore, "pod_settings", settings)
    monkeypatch.setattr(PodOperator, "_cluster", cluster)
    return pods


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    levels = {name: logging.getLogger(name).level for name in PodOperator.quiet_loggers}
    with World(tmp_path) as world:
        monkeypatch.setenv("AGENT_FACTORY_API_URL", world.url)
        monkeypatch.setenv("AGENT_FACTORY_RUNTIME_TOKEN", TOKEN)
        yield world
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def map_of_containers(items: int) -> Plan:
    body = {
        "id": "run",
        "type": "container",
        "runtime_image": "python:3.11-slim",
        "config": {"command": ["x"]},
        "timeout": "1h",
    }
    return compiled({"id": "all", "type": "map", "config": {"over": "{{ input }}", "tasks": [body]}})


class Killed:
    """A task that is killed once so many pods were asked for.

    :param when: How many.
    :param away: The API server is away then.
    """

    def __init__(self, world: World, pods: Pods, plan: PlanFile, when: int, *, away: bool = False) -> None:
        self.operator = PodOperator(task_id="all", plan=plan)
        self._pods, self._when, self._away, self._main = pods, when, away, threading.current_thread()
        killer = threading.Thread(target=self._kill)
        killer.start()
        context: Any = {"dag_run": SimpleNamespace(run_id="run-1", clear_number=0)}
        with pytest.raises(AirflowException, match="told to stop"):
            SegmentOperator.execute.__wrapped__(self.operator, context)  # type: ignore[attr-defined]
        killer.join()

    def _kill(self) -> None:
        while self._pods.created < self._when:
            assert self._main.is_alive()
        self._pods.is_away = self._away
        self.operator.on_kill()
        self._pods.go_on.set()


class TestKilled:
    def test_every_pod_ends(self, world: World, pods: Pods) -> None:
        Killed(world, pods, world.publish(map_of_containers(3), input=[1, 2, 3]), 3)
        assert (pods.created, pods.names) == (3, {})

    def test_one_that_was_about_to_start_too(self, world: World, pods: Pods) -> None:
        pods.slow_from = 2
        Killed(world, pods, world.publish(map_of_containers(3), input=[1, 2, 3]), 3)
        assert (pods.created, pods.names) == (3, {})

    def test_the_pods_of_others_stay(self, world: World, pods: Pods) -> None:
        labels = {"agent-factory/execution": "run-2", "agent-factory/unit": "all"}
        pods.names["other"] = k8s.V1Pod(metadata=k8s.V1ObjectMeta(name="other", labels=labels))
        Killed(world, pods, world.publish(map_of_containers(2), input=[1, 2]), 2)
        assert list(pods.names) == ["other"]

    def test_it_stops_where_the_api_server_is_away(self, world: World, pods: Pods) -> None:
        Killed(world, pods, world.publish(map_of_containers(1), input=[1]), 1, away=True)
        assert len(pods.names) == 1


class TestDeferred:
    def test_a_map_waits_for_all_of_its_pods(self, world: World, pods: Pods) -> None:
        plan = world.publish(map_of_containers(3), input=[1, 2, 3])
        with pytest.raises(TaskDeferred) as deferred:
            world.execute(plan, kind=PodOperator)
        trigger = deferred.value.trigger
        assert isinstance(trigger, PodTrigger)
        assert sorted(trigger.pods) == sorted([name, None] for name in pods.names)
        assert len(trigger.pods) == 3
        assert trigger.until is not None
        # It sleeps until there is news, and looks once in a while only.
        assert trigger.until - datetime.now(UTC).timestamp() > 250

    def test_nothing_of_the_tenants_is_in_it(self, world: World, pods: Pods) -> None:
        plan = world.publish(map_of_containers(1), input=[MARKER])
        with pytest.raises(TaskDeferred) as deferred:
            world.execute(plan, kind=PodOperator)
        assert MARKER not in str(deferred.value.trigger.serialize())


def test_nothing_is_templated_or_pushed() -> None:
    operator = PodOperator(task_id="a", plan=PlanFile("x.py", sha256="0"))
    assert (operator.template_fields, PodOperator.template_fields) == ((), ())
    assert operator.do_xcom_push is False
    assert operator.get_logs is False


def test_answers_of_the_api_server_are_not_logged_at_debug_level(
    world: World, pods: Pods, caplog: pytest.LogCaptureFixture
) -> None:
    with HttpServer() as server:
        server.on("/api/v1/namespaces/ns/pods/x/log", lambda exchange: exchange.answer(200, MARKER.encode()))

        class Asking(PodOperator):
            async def _prepare(self, store: HttpStore) -> None:
                api = k8s.CoreV1Api(k8s.ApiClient(k8s.Configuration(host=server.url(""))))
                assert MARKER in str(api.read_namespaced_pod_log("x", "ns"))

        plan = world.publish(plan_of(step("a")))
        for name in CLUSTER_LOGGERS:
            logging.getLogger(name).setLevel(logging.NOTSET)
        caplog.set_level(logging.DEBUG)
        world.execute(plan, kind=Asking)
    assert len(server.requests) == 1
    assert MARKER not in caplog.text
