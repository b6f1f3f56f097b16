"""Executions with pods while worker, scheduler, triggerer, API and database are killed and frozen at random."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from kubernetes import watch

from tests.chaos.models import NumberedModels
from tests.chaos.run import Outcome, chaos, check_nothing_is_stuck, disrupted_platform
from tests.chaos.workflows import Case
from tests.kubernetes.cluster import ORGANIZATION, PREFIX, TestCluster, platform_environment

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(900)]

EXECUTIONS, DISRUPTIONS, SEED = 10, 8, 20
SAY = "import time\n\n\ndef main(input):\n    time.sleep(input['seconds'])\n    return {'text': input['text']}\n"


def say(step: str, text: str, seconds: float, **fields: Any) -> dict[str, Any]:
    config = {"language": "python", "input": {"text": text, "seconds": seconds}}
    return {"id": step, "type": "code", "code": SAY, "config": config, **fields}


CASE = Case(
    {
        "id": "chaos_pods", "name": "Chaos", "version": "1", "trigger": {"type": "manual", "config": {}},
        "tasks": [
            # Two that share a pod; one that has its own, and outlives the worker's patience.
            say("one", "{{ input.tag }}|one", 0.5, next=["two"]),
            say("two", "{{ one.output.text }}|two", 2, next=["three"]),
            say("three", "{{ two.output.text }}|three", 4, resource_limits={"memory": "64Mi"}),
        ],
    },
    {},
)  # fmt: skip


class PodWatcher:
    """Notes every pod of the organisation from its first moment to its last.

    ``twice`` holds the steps that had two living pods at once.
    """

    def __init__(self, cluster: TestCluster) -> None:
        self._cluster = cluster
        self._stream = watch.Watch()
        self._living: dict[tuple[str, ...], set[str]] = {}
        self.seen: set[str] = set()
        self.twice: list[tuple[str, ...]] = []

    def run(self) -> None:
        """Watch until told to stop."""
        pods = self._cluster.api().list_namespaced_pod
        for event in self._stream.stream(pods, PREFIX + ORGANIZATION, _request_timeout=900):
            self._note(event["type"], event["object"])

    def _note(self, kind: str, pod: Any) -> None:
        labels = pod.metadata.labels or {}
        place = tuple(labels.get(f"agent-factory/{name}", "") for name in ("execution", "unit", "slot", "epoch"))
        living = self._living.setdefault(place, set())
        over = kind == "DELETED" or pod.status.phase in ("Succeeded", "Failed")
        (living.discard if over else living.add)(pod.metadata.uid)
        self.seen.add(pod.metadata.uid)
        if len(living) > 1:
            self.twice.append(place)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch in a thread."""
        thread = threading.Thread(target=self.run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stream.stop()


@pytest.fixture(scope="module")
def chaotic(cluster: TestCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Outcome, PodWatcher]]:
    """What is left of executions under disruptions, while the platform still runs."""
    environment = platform_environment(cluster, tmp_path_factory.mktemp("chaos"))
    watcher = PodWatcher(cluster)
    with (
        NumberedModels(delay=0.0) as models,
        disrupted_platform(models, environment) as (platform, relays),
        watcher.watching(),
    ):
        yield (
            chaos(
                platform, relays, models, executions=EXECUTIONS, disruptions=DISRUPTIONS, seed=SEED, cases=(CASE,)
            ),
            watcher,
        )  # fmt: skip


def test_outputs_are_right(chaotic: tuple[Outcome, PodWatcher]) -> None:
    outcome, _ = chaotic
    for trigger in outcome.triggers:
        expected = {"three": {"text": f"{trigger.tag}|one|two|three"}}
        assert (trigger.view["status"], trigger.view["output"]) == ("success", expected), trigger.view["error"]
    assert len(outcome.triggers) == EXECUTIONS
    assert any(disruption.tasks for disruption in outcome.disruptions)


def test_no_step_has_two_pods_at_once(chaotic: tuple[Outcome, PodWatcher]) -> None:
    _, watcher = chaotic
    assert len(watcher.seen) >= 2 * EXECUTIONS
    assert not watcher.twice


def test_nothing_is_stuck_and_no_pod_is_left(chaotic: tuple[Outcome, PodWatcher], cluster: TestCluster) -> None:
    outcome, _ = chaotic
    check_nothing_is_stuck(outcome.platform, ORGANIZATION)
    counts = asyncio.run(cluster.remove_pods_of_nobody(outcome.platform))
    assert counts["failed"] == 0
    print(f"chaos: {counts['removed']} pods of nobody", flush=True)
    assert not cluster.pods()
