"""The pods of containers: one at a time for a step, gone once its result is kept, and nothing of it rewritten."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from operators.pods.cluster import Cluster
from operators.pods.jobs import PodJob
from operators.pods.pool import PodPool
from operators.pods.spec import BASE, STEWARD
from operators.steps.base import StepFailedError, StepKey, StepServices, Waiting
from operators.steps.registry import IN_PODS
from tests.chaos.pods import Life, PodWatch
from tests.kubernetes.cluster import IMAGE, ORGANIZATION, PREFIX, TestCluster, compiled
from tests.support import until

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(250)]

ECHO = (
    'import json, os, sys; env = {name: text for name, text in os.environ.items() if name[:2] == "T_"}; '
    'json.dump([sys.argv[1:], env], open(os.environ["AGENT_FACTORY_OUTPUT"], "w"))'
)
SIGNS = ["$(T_A)", "$$", "$$(T_A)", "$(NONE)", "$T_A ${T_A} $1", "a$", "\n\t'\"`\\ é", "{T_A}", ""]


def container(script: str, **fields: Any) -> dict[str, Any]:
    """Return a task that runs a script."""
    task_config = {"command": ["sh", "-c", script], **fields.pop("config", {})}
    return {"id": "a", "type": "container", "runtime_image": IMAGE, "config": task_config, **fields}


@contextmanager
def watched(cluster: TestCluster) -> Iterator[dict[str, Life]]:
    """Note when each pod of the organisation is there."""
    watch = PodWatch(cluster.api(), PREFIX + ORGANIZATION)
    watch.start()
    try:
        yield watch.lives
        until(lambda: not cluster.api().list_namespaced_pod(PREFIX + ORGANIZATION).items)
        time.sleep(1)
    finally:
        watch.finish()


@contextmanager
def quota_of(cluster: TestCluster, pods: int) -> Iterator[None]:
    """Let the organisation have so few pods."""
    api, place = cluster.api(), ("agent-factory", PREFIX + ORGANIZATION)
    before = api.read_namespaced_resource_quota(*place).spec.hard["pods"]

    def bound(most: str) -> None:
        api.patch_namespaced_resource_quota(*place, {"spec": {"hard": {"pods": most}}})
        until(lambda: api.read_namespaced_resource_quota(*place).status.hard["pods"] == most)

    bound(str(pods))
    try:
        yield
    finally:
        bound(before)


async def look(job: PodJob, pool: PodPool, waiting: Waiting) -> Any:
    """Look as a step does."""
    services = StepServices(None, pods=pool)  # type: ignore[arg-type]
    return await IN_PODS["container"].poll(job, services, waiting, datetime.now(UTC))


@pytest.mark.parametrize(
    ("name", "script", "options"),
    [("time-out", "trap '' TERM; sleep 60", {}), ("start", "sleep 60", {"start_seconds": 0.001})],
)
def test_an_attempt_begins_when_the_one_before_is_gone(
    name: str, script: str, options: dict[str, Any], cluster: TestCluster
) -> None:
    task = container(script, timeout="2s", retry={"attempts": 3, "backoff_seconds": 0.01})
    with watched(cluster) as lives:
        result = asyncio.run(cluster.run(compiled(task), f"attempts-{name}", cluster.pool(**options), input={}))
    step = result.steps["a"]
    assert step.error is not None
    assert (step.error.code, step.attempts) == ("timeout" if name == "time-out" else "start_timeout", 3)
    # Those of the tests before may still be going.
    own = (life for life in lives.values() if life.place[0] == f"attempts-{name}")
    in_order = sorted(own, key=lambda life: life.begin)
    assert len(in_order) == 3
    for former, later in itertools.pairwise(in_order):
        assert former.end is not None
        assert former.end < later.begin


def test_a_map_needs_no_more_pods_than_items_at_once(cluster: TestCluster) -> None:
    body = container('cp "$AGENT_FACTORY_INPUT" "$AGENT_FACTORY_OUTPUT"', config={"input": {"n": "{{ n }}"}})
    task = {
        "id": "each", "type": "map",
        "config": {"over": "{{ input }}", "as": "n", "concurrency": 4, "tasks": [body], "result": "{{ a.output.n }}"},
    }  # fmt: skip
    with quota_of(cluster, 5):
        result = asyncio.run(cluster.run(compiled(task), "map-of-containers", input=list(range(12))))
    assert result.status == "success", result.steps["each"].error
    assert result.steps["each"].output == list(range(12))
    assert cluster.left["map-of-containers"] == []


async def test_a_result_is_in_the_pod_until_it_is_kept(cluster: TestCluster) -> None:
    """Whoever looks again, for the journal of the one before broke off, finds it; then the pod goes."""
    [step] = compiled(container("python3 -c 'import random; print(random.random())' > $AGENT_FACTORY_OUTPUT")).steps
    job = IN_PODS["container"].render(step, {"input": {}})
    waiting = Waiting(StepKey("kept", 0, "a"), datetime.now(UTC))
    pools = [cluster.pool(hold_seconds=60) for _ in range(2)]
    try:
        outputs = [(await look(job, pool, waiting)).output for pool in pools]
        assert outputs[0] == outputs[1]
        assert len(cluster.pods("kept")) == 1
        pools[1].journaled(["b"])
        assert len(cluster.pods("kept")) == 1
        pools[1].journaled(["a"])
        await pools[1].close()
        assert cluster.pods("kept") == []
    finally:
        await pools[0].remove("kept")


def test_words_reach_the_container_as_they_are(cluster: TestCluster) -> None:
    env = {f"T_{chr(65 + at)}": text for at, text in enumerate(SIGNS)}
    task = container("", config={"command": ["python3", "-c", ECHO, *SIGNS], "args": SIGNS, "env": env})
    result = asyncio.run(cluster.run(compiled(task), "verbatim", input={}))
    assert result.steps["a"].output == [SIGNS + SIGNS, env], result.steps["a"].error


async def test_a_result_that_nobody_came_for_is_worth_another_attempt(cluster: TestCluster) -> None:
    """As when Airflow is away for long: the container has ended in time, and then the pod's deadline passed."""
    [step] = compiled(container("sleep 1; echo 1 > $AGENT_FACTORY_OUTPUT")).steps
    job = IN_PODS["container"].render(step, {"input": {}})
    waiting = Waiting(StepKey("late", 0, "a"), datetime.now(UTC))
    pool = cluster.pool(hold_seconds=0.5, deadline_seconds=15)

    def state() -> Any:
        [pod] = cluster.pods("late")
        statuses = {status.name: status.state for status in pod.status.container_statuses or ()}
        return statuses.get(BASE), pod.status.reason

    try:
        await look(job, pool, waiting)
        while (base := state()[0]) is None or base.waiting is not None:
            await look(job, pool, waiting)
        until(lambda: state()[1] == "DeadlineExceeded")
        with pytest.raises(StepFailedError) as failure:
            await look(job, cluster.pool(), waiting)
    finally:
        await pool.remove("late")
    assert (failure.value.code, failure.value.retryable) == ("deadline", True)
    assert "nobody came for it" in failure.value.message


async def test_a_pod_whose_steward_is_gone_fails_at_once(cluster: TestCluster) -> None:
    [step] = compiled(container("sleep 3; echo 1 > $AGENT_FACTORY_OUTPUT")).steps
    job = IN_PODS["container"].render(step, {"input": {}})
    waiting = Waiting(StepKey("alone", 0, "a"), datetime.now(UTC))
    pool = cluster.pool(hold_seconds=0.5)
    try:
        while not (pods := cluster.pods("alone")) or pods[0].status.phase != "Running":
            await look(job, pool, waiting)
        Cluster(cluster.airflow_api(), pods[0].metadata.namespace).open(
            pods[0].metadata.name, STEWARD, ["sh", "-c", "kill 1"]
        )
        until(lambda: cluster.pods("alone")[0].status.phase == "Succeeded")
        with pytest.raises(StepFailedError) as failure:
            await look(job, pool, waiting)
    finally:
        await pool.remove("alone")
    assert (failure.value.code, failure.value.retryable) == ("sandbox_error", True)
