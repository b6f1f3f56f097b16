"""Pods with the whole platform: Airflow starts them, waits for them deferred, finds them again, and removes them."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg2
import pytest

from api.platform import client
from api.platform.postgres import locate
from operators.pods import warm
from operators.sandbox.processes import descendants
from tests.kubernetes.cluster import (
    ORGANIZATION,
    PREFIX,
    RUNNER,
    TestCluster,
    code,
    platform_environment,
    workflow,
)
from tests.support import Platform, airflow_client, temporary_home

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(600)]

NAMESPACE = PREFIX + ORGANIZATION
MARKER = "tenant-marker-5e1f"
PRINTED = "printed-marker-a7c2"
SECRET = f"sk-of-the-organisation-{MARKER}"
SLOW = "import time\n\n\ndef main(input):\n    time.sleep(input['seconds'])\n    return input\n"


@pytest.fixture(scope="module")
def platform(cluster: TestCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform whose code runs in pods."""
    configs = tmp_path_factory.mktemp("configs")
    with temporary_home() as home, pytest.MonkeyPatch.context() as patch:
        for name, value in platform_environment(cluster, configs).items():
            patch.setenv(name, value)
        running = client.start(home, detach=False, restart=True)
        try:
            running.wait_ready(lambda text: print(f"platform: {text}", flush=True))
            state, credentials = home.read_state(), home.credentials()
            headers = {"Authorization": f"Bearer {state['api_token']}"}
            with (
                httpx.Client(base_url=home.api_url, headers=headers, timeout=60) as http,
                airflow_client(home) as airflow,
            ):
                yield Platform(home, state, http, airflow, locate(home.path, credentials.postgres_password))
        finally:
            running.stop()


def slow(workflow_id: str, seconds: float) -> dict[str, Any]:
    """A workflow of two steps of code in one pod; the second takes a while."""
    first = code("first", "def main(input):\n    return input\n", input={"text": MARKER}, next=["second"])
    second = code("second", SLOW, input={"seconds": seconds, "text": "{{ first.output.text }}"}, timeout="300s")
    return {**workflow(first, second), "id": workflow_id}


@pytest.fixture
def warm_pod(platform: Platform, cluster: TestCluster) -> Iterator[Any]:
    """A warm pod of the organisation, which upkeep has started; there is none before and after."""
    headers = {"Authorization": f"Bearer {platform.home.credentials().runtime_token}"}

    def keep(size: int) -> dict[str, int]:
        pools = [{"size": size}] if size else []
        answer = platform.http.put("/api/v1/warm-pods", json={"pools": pools})
        assert answer.status_code == 200, answer.text
        job = httpx.post(f"{platform.home.api_url}/runtime/v1/upkeep/pods", headers=headers, timeout=60)
        counts: dict[str, int] = job.json()["counts"]
        return counts

    def idle() -> list[Any]:
        return [pod for pod in cluster.pods() if warm.POOL in pod.metadata.labels]

    # The DAG of upkeep may have been quicker.
    assert keep(1)["failed"] == 0
    platform.until(lambda: len(idle()) == 1 and warm.is_ready(idle()[0]), 240)
    yield idle()[0]
    keep(0)
    platform.until(lambda: not idle())


def running_pod(platform: Platform, cluster: TestCluster, execution_id: str) -> Any:
    """Return the execution's pod, once its second step runs."""

    def begun() -> bool:
        pods = cluster.pods(execution_id)
        if not pods or pods[0].status.phase != "Running":
            return False
        return log(cluster, pods[0]).count("took ") == 2

    platform.until(begun, 240)
    [pod] = cluster.pods(execution_id)
    return pod


def log(cluster: TestCluster, pod: Any) -> str:
    """Return what the steward has told."""
    text: str = cluster.api().read_namespaced_pod_log(pod.metadata.name, pod.metadata.namespace, container="steward")
    return text


def kill_tasks(platform: Platform) -> None:
    """Kill what runs tasks, as a lost worker would be."""
    scheduler = platform.home.read_state()["children"]["airflow-scheduler"]["pid"]
    busy = [pid for pid in descendants(scheduler) if b"LocalExecutor" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    for pid in [task for worker in busy for task in descendants(worker)]:
        os.kill(pid, signal.SIGKILL)


def state_of(platform: Platform, dag_id: str, run_id: str) -> str:
    answer = platform.airflow.get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances")
    return ",".join(str(each["state"]) for each in answer.json()["task_instances"])


def test_steps_share_a_pod_and_wait_deferred(platform: Platform, cluster: TestCluster) -> None:
    platform.publish(slow("waits", 12))
    execution_id = platform.execute("waits", {})
    pod = running_pod(platform, cluster, execution_id)
    platform.until(lambda: state_of(platform, f"{ORGANIZATION}__waits", execution_id) == "deferred")
    execution = platform.wait(execution_id)
    assert (execution["status"], execution["output"]) == ("success", {"second": {"seconds": 12, "text": MARKER}})
    first, second = execution["steps"]
    assert first["timing"]["start"] > 0
    assert (second["timing"]["start"], second["timing"]["run"] >= 12_000) == (0, True)
    platform.until(lambda: not cluster.pods(execution_id))
    assert pod.spec.containers[0].image == "python:3.11-slim"


def test_a_killed_worker_finds_its_pod_again(platform: Platform, cluster: TestCluster) -> None:
    platform.publish(slow("killed", 8))
    execution_id = platform.execute("killed", {})
    pod = running_pod(platform, cluster, execution_id)
    kill_tasks(platform)
    seen = {pod.metadata.uid}

    def ended() -> bool:
        seen.update(each.metadata.uid for each in cluster.pods(execution_id))
        return platform.http.get(f"/api/v1/executions/{execution_id}").json()["status"] not in ("pending", "running")

    platform.until(ended, 240)
    assert platform.wait(execution_id)["output"] == {"second": {"seconds": 8, "text": MARKER}}
    assert seen == {pod.metadata.uid}


def test_a_cancel_removes_the_pod(platform: Platform, cluster: TestCluster) -> None:
    platform.publish(slow("cancelled", 250))
    execution_id = platform.execute("cancelled", {})
    running_pod(platform, cluster, execution_id)
    platform.http.post(f"/api/v1/executions/{execution_id}/cancel")
    assert_cancelled(platform.wait(execution_id))
    platform.until(lambda: not cluster.pods(execution_id))


def test_a_cancel_removes_the_pod_of_a_deferred_step(platform: Platform, cluster: TestCluster) -> None:
    """Nobody is at work on it: neither a worker nor Airflow's end of the run could remove the pod."""
    platform.publish(slow("cancelled_deferred", 250))
    execution_id = platform.execute("cancelled_deferred", {})
    running_pod(platform, cluster, execution_id)
    platform.until(lambda: state_of(platform, f"{ORGANIZATION}__cancelled_deferred", execution_id) == "deferred")
    answer = platform.http.post(f"/api/v1/executions/{execution_id}/cancel")
    assert answer.json()["status"] == "cancelled"
    platform.until(lambda: not all_pods(cluster, execution_id), 25)
    assert_cancelled(platform.wait(execution_id))


def assert_cancelled(execution: dict[str, Any]) -> None:
    """Check what is shown of an execution that was cancelled while its second step ran: that one did not fail."""
    assert execution["status"] == "cancelled"
    assert execution["error"] == {"code": "cancelled", "message": "the execution was cancelled"}
    first, second = execution["steps"]
    assert (first["status"], second["status"]) == ("success", "cancelled")
    assert (second["error"], second["output"]) == (None, None)


def all_pods(cluster: TestCluster, execution_id: str) -> list[str]:
    """Return the execution's pods, those too that are being deleted: their containers may still run."""
    labels = f"agent-factory/execution={execution_id}"
    return [pod.metadata.name for pod in cluster.api().list_namespaced_pod(NAMESPACE, label_selector=labels).items]


def test_a_warm_pod_serves_and_its_killed_worker_finds_it_again(
    platform: Platform, cluster: TestCluster, warm_pod: Any
) -> None:
    platform.publish(slow("warm_killed", 8))
    execution_id = platform.execute("warm_killed", {})
    pod = running_pod(platform, cluster, execution_id)
    assert pod.metadata.uid == warm_pod.metadata.uid
    kill_tasks(platform)
    seen = {pod.metadata.uid}

    def ended() -> bool:
        seen.update(each.metadata.uid for each in cluster.pods(execution_id))
        return platform.http.get(f"/api/v1/executions/{execution_id}").json()["status"] not in ("pending", "running")

    platform.until(ended, 240)
    execution = platform.wait(execution_id)
    assert execution["output"] == {"second": {"seconds": 8, "text": MARKER}}
    assert seen == {pod.metadata.uid}
    timing = execution["steps"][0]["timing"]
    assert (timing["warm"] > 0, timing["start"]) == (True, 0)
    platform.until(lambda: not cluster.pods(execution_id))


def test_a_cancel_removes_a_warm_pod(platform: Platform, cluster: TestCluster, warm_pod: Any) -> None:
    platform.publish(slow("warm_cancelled", 250))
    execution_id = platform.execute("warm_cancelled", {})
    assert running_pod(platform, cluster, execution_id).metadata.uid == warm_pod.metadata.uid
    platform.http.post(f"/api/v1/executions/{execution_id}/cancel")
    assert_cancelled(platform.wait(execution_id))
    platform.until(lambda: not cluster.pods(execution_id))


def test_an_image_that_is_not_allowed_is_not_published(platform: Platform) -> None:
    source = workflow(code("a", "def main(input):\n    return 1\n", runtime_image="alpine:3"))
    answer = platform.http.post("/api/v1/workflows/pods/publish", json=source)
    assert (answer.status_code, answer.json()["code"]) == (422, "image_not_allowed")


def test_a_large_result_is_an_object(platform: Platform) -> None:
    """Made in a pod, kept by the control plane, read in another unit, in another pod, and by an expression."""
    many = {"text": MARKER, "times": 200_000}
    make = code(
        "make", "def main(input):\n    return [input['text']] * input['times']\n", input=many, next=["all", "n"]
    )
    read = code("all", "def main(input):\n    return len(input['all'])\n", input={"all": "{{ make.output }}"})
    count = {"id": "n", "type": "transform", "config": {"set": {"n": "{{ make.output | length }}"}}}
    output = {"read": "{{ all.output }}", "counted": "{{ n.output.n }}", "last": "{{ make.output[-1] }}"}
    platform.publish({**workflow(make, read, count, output=output), "id": "large"})
    execution = platform.wait(platform.execute("large", {}))
    assert (execution["status"], execution["error"]) == ("success", None)
    assert execution["output"] == {"read": 200_000, "counted": 200_000, "last": MARKER}
    (made,) = [step for step in execution["steps"] if step["id"] == "make"]
    assert made["output"] is None
    assert made["output_ref"]["size"] > 4_000_000
    assert platform.http.get(made["output_ref"]["url"]).json() == [MARKER] * 200_000
    assert len([path for path in (platform.home.path / "objects").rglob("*") if path.is_file()]) == 1


def test_secrets_are_masked_in_the_log(platform: Platform) -> None:
    """By the worker and by the triggerer: the container prints for longer than a worker stays."""
    stored = platform.http.put("/api/v1/variables/token", json={"value": SECRET, "secret": True})
    assert stored.status_code == 201, stored.text
    script = "for i in 1 2 3 4 5 6 7 8 9; do echo loud $i $KEY; sleep 1; done; echo 1 > $AGENT_FACTORY_OUTPUT"
    config = {"command": ["sh", "-c", script], "env": {"KEY": SECRET}}
    container = {"id": "loud", "type": "container", "runtime_image": "python:3.11-slim", "config": config}
    quiet = code("quiet", "def main(input):\n    print('quiet', input['key'])\n", input={"key": SECRET})
    platform.publish({**workflow({**container, "next": ["quiet"]}, quiet), "id": "masked"})
    execution = platform.wait(platform.execute("masked", {}), 180)
    assert (execution["status"], execution["error"]) == ("success", None)
    logs = "\n".join(path.read_text() for path in (platform.home.logs / "tasks").rglob("*.log*"))
    assert SECRET not in logs
    for line in (*(f"| loud {number} ***" for number in range(1, 10)), "| quiet ***"):
        assert logs.count(line) == 1, line
    assert platform.http.delete("/api/v1/variables/token").status_code == 204


def container(task_id: str, script: str, **fields: Any) -> dict[str, Any]:
    """A task that runs a script in a container."""
    config = {"command": ["sh", "-c", script], "input": fields.pop("input", {})}
    task = {"id": task_id, "type": "container", "runtime_image": "python:3.11-slim", "timeout": "300s"}
    return {**task, "config": config, **fields}


def logged(platform: Platform, text: str) -> list[str]:
    """Return what follows a text, on its line, in the logs of tasks."""
    logs = [path.read_text("utf-8", "replace") for path in (platform.home.logs / "tasks").rglob("*.log")]
    return re.findall(re.escape(text) + r" ([\w.-]+)", "\n".join(logs))


def tables_with(platform: Platform, text: str) -> list[str]:
    """Return Airflow's tables that hold a text."""
    connection = psycopg2.connect(platform.cluster.url("airflow"))
    with connection.cursor() as cursor:
        cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        found = []
        for (table,) in cursor.fetchall():
            cursor.execute(f'SELECT count(*) FROM "{table}" AS t WHERE t::text LIKE %s', (f"%{text}%",))
            found += [table] if cursor.fetchone() != (0,) else []
        cursor.execute("SELECT count(*) FROM xcom")
        assert cursor.fetchone() == (0,)
    connection.close()
    return found


def test_what_a_container_prints_is_in_the_log_within_seconds(platform: Platform, cluster: TestCluster) -> None:
    """While its task is deferred, so that it is the triggerer who shows it."""
    script = f"sleep 25; echo {PRINTED} $(date +%s); sleep 40; cp $AGENT_FACTORY_INPUT $AGENT_FACTORY_OUTPUT"
    platform.publish({**workflow(container("a", script, input={"text": MARKER})), "id": "prints"})
    execution_id = platform.execute("prints", {})
    platform.until(lambda: bool(logged(platform, PRINTED)), 240)
    seen = time.time()
    assert state_of(platform, f"{ORGANIZATION}__prints", execution_id) == "deferred"
    # Every two seconds, and later where the machine has other work; the container goes on for 40.
    assert seen - float(logged(platform, PRINTED)[0]) < 20
    assert platform.wait(execution_id)["output"] == {"a": {"text": MARKER}}
    assert len(logged(platform, PRINTED)) == 1
    assert tables_with(platform, PRINTED) == []


def test_a_map_waits_deferred_and_its_end_removes_its_pods(platform: Platform, cluster: TestCluster) -> None:
    body = container("each", f"echo {PRINTED}-map $HOSTNAME; sleep 290; echo 1 > $AGENT_FACTORY_OUTPUT")
    task = {"id": "all", "type": "map", "config": {"over": "{{ input.items }}", "tasks": [body]}}
    platform.publish({**workflow(task), "id": "maps"})
    execution_id = platform.execute("maps", {"items": [1, 2, 3]})

    def state() -> str:
        return state_of(platform, f"{ORGANIZATION}__maps", execution_id)

    platform.until(lambda: len(set(logged(platform, f"{PRINTED}-map"))) == 3, 180)
    platform.until(lambda: state() == "deferred")
    states = set()
    end = time.monotonic() + 10
    while time.monotonic() < end:
        states.add(state())
        time.sleep(0.2)
    assert states == {"deferred"}
    assert len(cluster.pods(execution_id)) == 3
    platform.http.post(f"/api/v1/executions/{execution_id}/cancel")
    assert platform.wait(execution_id)["status"] == "cancelled"
    platform.until(lambda: not cluster.pods(execution_id))


def test_the_next_step_of_a_pod_starts_within_seconds(platform: Platform) -> None:
    """Though a worker has to come back for it: the first step's result waits in the pod so long."""
    first = code("first", SLOW, input={"seconds": 6, "text": MARKER}, next=["second"])
    second = code("second", SLOW, input={"seconds": 6, "text": "{{ first.output.text }}"})
    platform.publish({**workflow(first, second), "id": "nexts"})
    steps = platform.wait(platform.execute("nexts", {}))["steps"]
    waited = [step["timing"]["result"] / 1000 for step in steps]
    print(f"results waited {waited} s in the pod")
    # Most of it is Airflow's way back to a worker: about five seconds, more where the machine has other work.
    assert max(waited) < 30


def test_airflow_knows_nothing_of_the_tenants(platform: Platform) -> None:
    assert tables_with(platform, MARKER) == []
    logs = (platform.home.logs / "tasks").rglob("*.log")
    assert not [path for path in logs if MARKER.encode() in path.read_bytes()]


def test_upkeep_keeps_namespaces_and_removes_pods(platform: Platform, cluster: TestCluster) -> None:
    headers = {"Authorization": f"Bearer {platform.home.credentials().runtime_token}"}
    for job in ("namespaces", "pods"):
        answer = httpx.post(f"{platform.home.api_url}/runtime/v1/upkeep/{job}", headers=headers, timeout=60)
        assert answer.status_code == 200, answer.text
        assert answer.json()["counts"]["failed"] == 0


async def test_pods_of_nobody_are_removed(platform: Platform, cluster: TestCluster) -> None:
    """As after a worker that was lost for good: its execution is over or unknown, its pod is still there."""
    platform.publish(slow("left", 250))
    running = platform.execute("left", {})
    kept = running_pod(platform, cluster, running).metadata.name
    cancelled = platform.execute("left", {})
    platform.http.post(f"/api/v1/executions/{cancelled}/cancel")
    platform.wait(cancelled)
    platform.until(lambda: [pod.metadata.name for pod in cluster.pods()] == [kept])
    for name, execution_id in {"over": cancelled, "unknown": str(uuid4()), "unreadable": "x"}.items():
        labels = {"app.kubernetes.io/managed-by": "agent-factory", "agent-factory/execution": execution_id}
        spec = {"containers": [{"name": "base", "image": RUNNER, "command": ["sleep", "600"]}]}
        cluster.api().create_namespaced_pod(NAMESPACE, {"metadata": {"name": name, "labels": labels}, "spec": spec})
    counts = await cluster.remove_pods_of_nobody(platform)
    assert counts["failed"] == 0
    assert counts["removed"] in (2, 3), "the platform's own upkeep may have been quicker with the first"
    assert [pod.metadata.name for pod in cluster.pods()] == [kept]
    assert platform.http.get(f"/api/v1/executions/{running}").json()["status"] == "running"
    platform.http.post(f"/api/v1/executions/{running}/cancel")
    assert_cancelled(platform.wait(running))
