"""Where the time of a pod's start went, by what Kubernetes reports of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import pytest
from kubernetes import client as k8s

from operators.execution.records import PodTiming
from operators.pods.cluster import Cluster
from operators.pods.pool import Attached, PodPool
from operators.pods.visit import Visit
from operators.steps.base import StepKey, Waiting
from tests.operators.pods.test_failures import pod_of
from tests.operators.pods.test_warm_pods import PYTHON, SETTINGS, job_of

pytestmark = pytest.mark.unit

ASKED = datetime(2026, 11, 24, 9, 0, 0, tzinfo=UTC)


def at(second: int) -> str:
    return ASKED.replace(minute=second // 60, second=second % 60).isoformat()


def started(*, received: int, begun: int) -> k8s.V1Pod:
    """A pod that was asked for at 0, made at 1, had a node at 3, and whose init container began at 5."""
    seen: dict[str, Any] = {"image": "i", "imageID": "", "ready": True, "restartCount": 0}
    ended = {"exitCode": 0, "startedAt": at(5), "finishedAt": at(received)}
    pod = pod_of(
        phase="Running",
        conditions=[{"type": "PodScheduled", "status": "True", "lastTransitionTime": at(3)}],
        initContainerStatuses=[{**seen, "name": "receiver", "state": {"terminated": ended}}],
        containerStatuses=[{**seen, "name": "base", "state": {"running": {"startedAt": at(begun)}}}],
    )
    pod.metadata.creation_timestamp = ASKED.replace(second=1)
    return pod


async def timing_of(pod: k8s.V1Pod, *, fresh: bool = True) -> PodTiming:
    class OnePod:
        namespace = SETTINGS.namespace

        def get(self, name: str) -> k8s.V1Pod:
            return pod

    async def settings() -> Any:
        return SETTINGS

    cluster = cast(Cluster, OnePod())
    pool = PodPool(lambda namespace: cluster, settings, unit="unit", deadline_seconds=60)
    waiting = Waiting(StepKey("x", 0, "a"), ASKED)
    visit = Visit(pool, cluster, SETTINGS, job_of(PYTHON), waiting, 0.0)
    return await visit._timing(Attached("af-x", 0.0, ASKED.timestamp(), fresh))


async def test_a_slow_pull_of_the_steps_image_is_the_images_time() -> None:
    """The kubelet pulls it when the init container has ended."""
    timing = await timing_of(started(received=8, begun=68))
    assert timing == PodTiming(queued=1_000, scheduled=2_000, start=5_000, image=60_000)


async def test_bringing_in_is_no_time_of_the_image() -> None:
    timing = await timing_of(started(received=28, begun=29))
    assert timing == PodTiming(queued=1_000, scheduled=2_000, start=25_000, image=1_000)


async def test_a_later_step_of_the_pod_has_none() -> None:
    assert await timing_of(started(received=8, begun=68), fresh=False) == PodTiming()
