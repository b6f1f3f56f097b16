"""Warm pods on a cluster: who gets one, that nobody shares one, and what becomes of those that nobody needs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from kubernetes import client

from compiler.planning import limits_of
from operators.execution.records import PodSettings, WarmPods
from operators.pods import warm
from operators.pods.cluster import Cluster
from operators.pods.spec import Place, selector
from tests.kubernetes.cluster import IMAGE, ORGANIZATION, OTHER, TestCluster, code, compiled
from tests.support import until

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(250)]

KIND = WarmPods(image="python:3.11-slim", network="none", limits=limits_of(None), size=2)
WHEN = "import time\n\n\ndef main(input):\n    time.sleep(input['seconds'])\n    return time.time()\n"


@pytest.fixture
def pods(cluster: TestCluster) -> Iterator[Cluster]:
    """The organisation's pods with Airflow's rights; no idle ones before and after."""
    found = Cluster(cluster.airflow_api(), settings_of(cluster).namespace)
    yield found

    def removed() -> bool:
        # One whose status changed meanwhile stays for the next round.
        keep(cluster, found)
        return not found.find(warm.POOL)

    until(removed)


def settings_of(cluster: TestCluster, *kinds: WarmPods, **changes: Any) -> PodSettings:
    return cluster.pod_settings().model_copy(update={"warm": list(kinds), **changes})


def keep(cluster: TestCluster, pods: Cluster, *kinds: WarmPods, **changes: Any) -> dict[str, int]:
    """Have the kinds' pods kept; wait until those that there are can be claimed."""
    counts = warm.keep(pods, settings_of(cluster, *kinds, **changes))
    until(lambda: all(warm.is_ready(pod) for pod in warm.idle_pods(pods)))
    return counts


def names(pods: Cluster) -> set[str]:
    return {pod.metadata.name for pod in warm.idle_pods(pods)}


def run(cluster: TestCluster, execution_id: str, *kinds: WarmPods, seconds: float = 0, **options: Any) -> Any:
    """Run a workflow of one step with the kinds' pods."""
    limits = options.pop("resource_limits", {})
    plan = compiled(code("a", WHEN, input={"seconds": seconds}, resource_limits=limits))
    pool = cluster.pool(warm=list(kinds), **options)

    async def whole() -> Any:
        try:
            return await cluster.run(plan, execution_id, pool, input={})
        finally:
            await pool.close()

    return asyncio.run(whole()).steps["a"]


class TestClaiming:
    def test_a_step_gets_one_and_another_takes_its_place(self, cluster: TestCluster, pods: Cluster) -> None:
        assert keep(cluster, pods, KIND) == {"warm_removed": 0, "warm_started": 2, "warm_refused": 0}
        before = names(pods)
        step = run(cluster, "warm", KIND)
        assert step.status == "success"
        timing = step.timing.model_dump()
        assert timing["warm"] > 0
        assert [timing[name] for name in ("queued", "scheduled", "image", "start")] == [0, 0, 0, 0]
        until(lambda: len(names(pods)) == 2)
        # One was used, and is gone with its execution.
        assert len(names(pods) & before) == 1
        assert not cluster.pods("warm")

    @pytest.mark.parametrize(
        "change",
        [{"limits": limits_of(None).model_copy(update={"memory_bytes": 99_000_000})}, {"image": IMAGE + "x"},
         {"network": "egress"}],
    )  # fmt: skip
    def test_one_of_another_kind_is_not_taken(self, change: Any, cluster: TestCluster, pods: Cluster) -> None:
        other = KIND.model_copy(update={"size": 1, **change})
        warm.keep(pods, settings_of(cluster, other))
        before = names(pods)
        step = run(cluster, "cold", KIND, other)
        assert (step.status, step.timing.warm, step.timing.start > 0) == ("success", 0, True)
        assert names(pods) == before

    def test_the_image_may_be_named_in_full(self, cluster: TestCluster, pods: Cluster) -> None:
        full = KIND.model_copy(update={"image": IMAGE})
        keep(cluster, pods, full)
        assert run(cluster, "full", full).timing.warm > 0

    def test_no_two_get_the_same(self, cluster: TestCluster, pods: Cluster) -> None:
        keep(cluster, pods, KIND)

        def one(number: int) -> Any:
            place = Place(f"race-{number}", 0, "unit", "slot")
            with_rights_of_its_own = Cluster(cluster.airflow_api(), pods.namespace)
            return warm.claim(with_rights_of_its_own, KIND, settings_of(cluster, KIND), place, str(number), 60)

        with ThreadPoolExecutor(8) as threads:
            claimed = [pod for pod in threads.map(one, range(8)) if pod is not None]
        try:
            assert len({pod.metadata.uid for pod in claimed}) == len(claimed) == 2
            assert not names(pods)
            for pod in claimed:
                [found] = cluster.pods(pod.metadata.labels["agent-factory/execution"])
                assert found.metadata.uid == pod.metadata.uid
        finally:
            for pod in claimed:
                pods.delete(pod.metadata.name)

    def test_two_workers_of_one_step_settle_on_one(self, cluster: TestCluster, pods: Cluster) -> None:
        """As after a pause of the first, whose lease the second has taken over: each has claimed one of its own."""
        keep(cluster, pods, KIND)
        place = Place("settled", 0, "unit", "slot")
        settings, labels = settings_of(cluster, KIND), place.labels("none")
        assert [warm.claim(pods, KIND, settings, place, "job", 60) is not None for _ in range(2)] == [True, True]
        assert len(cluster.pods("settled")) == 2
        with ThreadPoolExecutor(6) as threads:
            seen = list(threads.map(lambda _: warm.settle(Cluster(cluster.airflow_api(), pods.namespace), labels),
                                    range(6)))  # fmt: skip
        assert len({pod.metadata.uid for pod in seen if pod is not None}) == 1
        assert None not in seen
        [left] = cluster.pods("settled")
        assert left.metadata.uid == seen[0].metadata.uid  # type: ignore[union-attr]
        pods.delete(left.metadata.name)
        assert warm.settle(pods, labels) is None

    async def test_who_takes_over_finds_it(self, cluster: TestCluster, pods: Cluster) -> None:
        """Two processes at the same unit, from the beginning: the step runs once."""
        await asyncio.to_thread(keep, cluster, pods, KIND)
        plan = compiled(code("a", WHEN, input={"seconds": 3}))
        pools = [cluster.pool(warm=[KIND]) for _ in range(2)]
        runs = [asyncio.create_task(cluster.run(plan, "taken-over", pool, input={})) for pool in pools]
        first, second = [await each for each in runs]
        assert first.status == "success"
        assert first.output == second.output
        for pool in pools:
            await pool.close()

    def test_its_deadline_is_the_units(self, cluster: TestCluster, pods: Cluster) -> None:
        keep(cluster, pods, KIND)
        step = run(cluster, "deadline", KIND, seconds=60, deadline_seconds=2)
        assert (step.status, step.error.code) == ("failed", "deadline")

    def test_another_organisation_gets_none(self, cluster: TestCluster, pods: Cluster) -> None:
        keep(cluster, pods, KIND)
        with pytest.raises(client.ApiException) as refused:
            cluster.airflow_api(OTHER).list_namespaced_pod(pods.namespace, label_selector=warm.POOL)
        assert refused.value.status == 403
        theirs = settings_of(cluster, KIND, namespace=cluster.settings.namespace_of(OTHER))
        place = Place("theirs", 0, "unit", "slot")
        own = Cluster(cluster.airflow_api(OTHER), theirs.namespace)
        assert warm.claim(own, KIND, theirs, place, "job", 60) is None
        assert len(names(pods)) == 2


class TestKeeping:
    def test_what_changed_is_replaced_and_the_rest_stays(self, cluster: TestCluster, pods: Cluster) -> None:
        keep(cluster, pods, KIND)
        before = names(pods)
        assert keep(cluster, pods, KIND) == {"warm_removed": 0, "warm_started": 0, "warm_refused": 0}
        assert names(pods) == before
        fewer = KIND.model_copy(update={"size": 1})
        assert keep(cluster, pods, fewer)["warm_removed"] == 1
        assert names(pods) < before
        # A setting of the deployment, which every pod is made with.
        changed = keep(cluster, pods, fewer, pull_secrets=["registry"])
        assert (changed["warm_removed"], changed["warm_started"]) == (1, 1)
        assert not names(pods) & before
        # The image is not allowed any more.
        assert keep(cluster, pods, fewer, images=["alpine:*"])["warm_removed"] == 1
        assert not names(pods)

    def test_an_old_one_is_replaced(self, cluster: TestCluster, pods: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
        one = KIND.model_copy(update={"size": 1})
        keep(cluster, pods, one)
        before = names(pods)
        monkeypatch.setattr(warm, "age", lambda pod: warm.IDLE_SECONDS + 1.0 if pod.metadata.name in before else 0.0)
        assert warm.claim(pods, one, settings_of(cluster, one), Place("old", 0, "u", "s"), "job", 60) is None
        counts = keep(cluster, pods, one)
        assert (counts["warm_removed"], counts["warm_started"]) == (1, 1)
        assert not names(pods) & before

    def test_one_that_nobody_keeps_ends_itself(
        self, cluster: TestCluster, pods: Cluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(warm, "ORPHAN_SECONDS", 3)
        one = KIND.model_copy(update={"size": 1})
        pods.create(warm.warm_pod(one, settings_of(cluster, one)))
        until(lambda: next(pod.status.phase for pod in warm.idle_pods(pods)) in ("Succeeded", "Failed"))
        monkeypatch.undo()
        assert keep(cluster, pods, one)["warm_removed"] == 1

    def test_idle_ones_make_room_for_work(self, cluster: TestCluster, pods: Cluster) -> None:
        quota = {"spec": {"hard": {"pods": "2"}}}
        cluster.api().patch_namespaced_resource_quota("agent-factory", pods.namespace, quota)
        try:
            three = KIND.model_copy(update={"size": 3})
            assert keep(cluster, pods, three)["warm_refused"] == 1
            until(lambda: cluster.quota_used("pods") == "2")
            step = run(cluster, "room", three, resource_limits={"memory": "200Mi"})
            assert (step.status, step.timing.warm) == ("success", 0)
            assert not names(pods)
        finally:
            cluster.namespaces.ensure(ORGANIZATION)


def test_the_selector_names_no_execution(cluster: TestCluster, pods: Cluster) -> None:
    """What removes the pods of executions that are over does not see idle ones; it sees them once they are claimed."""
    keep(cluster, pods, KIND)
    seen = [pod.name for pod in cluster.namespaces.pods(ORGANIZATION)]
    assert not set(seen) & names(pods)
    place = Place("seen", 0, "unit", "slot")
    claimed = warm.claim(pods, KIND, settings_of(cluster, KIND), place, "job", 60)
    assert claimed is not None
    assert ("seen" in {pod.execution for pod in cluster.namespaces.pods(ORGANIZATION)}) is True
    assert [pod.metadata.name for pod in pods.find(selector(place.labels("none")))] == [claimed.metadata.name]
    pods.delete(claimed.metadata.name)
