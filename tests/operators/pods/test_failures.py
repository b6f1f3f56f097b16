"""What statuses of pods mean that a cluster of one node cannot be brought to: each as Kubernetes reports it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes import client

from operators.pods.failures import PodFailedError, look_at

pytestmark = pytest.mark.unit


def pod_of(**status: Any) -> client.V1Pod:
    document = {"metadata": {"name": "af-x"}, "status": status}
    document["spec"] = {"containers": [{"name": "base"}], "activeDeadlineSeconds": 600}
    read: client.V1Pod = client.ApiClient().deserialize(SimpleNamespace(data=json.dumps(document)), "V1Pod")
    return read


def waiting(name: str, reason: str, message: str = "") -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"name": name, "state": state, "image": "i", "imageID": "", "ready": False, "restartCount": 0}


def ended(name: str, code: int, reason: str = "Error", at: str | None = None) -> dict[str, Any]:
    state = {"terminated": {"exitCode": code, "reason": reason, "finishedAt": at}}
    return {"name": name, "state": state, "image": "i", "imageID": "", "ready": False, "restartCount": 0}


def running(name: str) -> dict[str, Any]:
    state: dict[str, Any] = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    return {"name": name, "state": state, "image": "i", "imageID": "", "ready": True, "restartCount": 0}


def late(base: dict[str, Any]) -> dict[str, Any]:
    """Return the status of a pod whose deadline of 600 s, see :func:`pod_of`, has passed."""
    return {"phase": "Failed", "reason": "DeadlineExceeded", "startTime": "2026-01-01T00:00:00Z",
            "containerStatuses": [base]}  # fmt: skip


DISRUPTED = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}
FULL = "Usage of EmptyDir volume 'tmp' exceeds the limit"
CASES: dict[str, tuple[dict[str, Any], str, bool]] = {
    "evicted: the node is short": (
        {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}, "evicted", True,
    ),
    "evicted: it wrote too much": ({"phase": "Failed", "reason": "Evicted", "message": FULL}, "storage_full", False),
    "preempted": ({"phase": "Failed", "reason": "Preempting"}, "evicted", True),
    "disrupted": ({"phase": "Failed", "conditions": [DISRUPTED], "containerStatuses": [ended("base", 137)]}, "evicted",
                  True),
    "the node shuts down": ({"phase": "Failed", "reason": "NodeShutdown"}, "evicted", True),
    "the node shuts down, newer": ({"phase": "Failed", "reason": "Terminated"}, "evicted", True),
    "the node is lost": ({"phase": "Running", "reason": "NodeLost"}, "node_lost", True),
    "nobody knows of the node": ({"phase": "Unknown"}, "node_lost", True),
    "the node refuses it": ({"phase": "Failed", "reason": "OutOfcpu", "message": "no room"}, "unschedulable", True),
    "the deadline": ({"phase": "Failed", "reason": "DeadlineExceeded"}, "deadline", False),
    "the deadline ended it": (late(ended("base", 137, at="2026-01-01T00:10:00Z")), "deadline", False),
    "it ended, and nobody came before the deadline": (
        late(ended("base", 0, "Completed", "2026-01-01T00:00:10Z")), "deadline", True,
    ),
    "there is nobody to take its result from": (
        {"phase": "Succeeded", "containerStatuses": [ended("base", 0, "Completed"), ended("steward", 0, "Completed")]},
        "sandbox_error", True,
    ),
    "there is nobody to take jobs from": (
        {"phase": "Running", "containerStatuses": [running("base"), ended("steward", 137, "OOMKilled")]},
        "sandbox_error", True,
    ),
    "it failed, and then our own part ended": (
        {"phase": "Failed", "containerStatuses": [ended("base", 3), ended("steward", 0)]}, "exit_code", True,
    ),
    "the image's name is none": (
        {"phase": "Pending", "containerStatuses": [waiting("base", "InvalidImageName")]}, "image_pull", False,
    ),
    "the registry is away": (
        {"phase": "Pending", "containerStatuses": [waiting("base", "RegistryUnavailable")]}, "image_pull", True,
    ),
    "our own image is not there": (
        {"phase": "Pending", "initContainerStatuses": [waiting("receiver", "ImagePullBackOff")]}, "image_pull", True,
    ),
    "our own part broke off": (
        {"phase": "Pending", "initContainerStatuses": [ended("receiver", 1)]}, "sandbox_error", True,
    ),
    "the container cannot be made": (
        {"phase": "Pending", "containerStatuses": [waiting("base", "CreateContainerConfigError")]}, "exit_code", False,
    ),
    "out of memory": (
        {"phase": "Failed", "containerStatuses": [ended("base", 137, "OOMKilled")]}, "out_of_memory", False,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("status", "code", "retryable"), CASES.values(), ids=CASES)
def test_failure(status: dict[str, Any], code: str, retryable: bool) -> None:
    with pytest.raises(PodFailedError) as failure:
        look_at(pod_of(**status), waited=1.0, start_seconds=60.0)
    assert (failure.value.code, failure.value.retryable) == (code, retryable)
    assert failure.value.message


def test_a_pod_that_starts_is_none() -> None:
    assert look_at(pod_of(phase="Pending"), waited=1.0, start_seconds=60.0) == "starting"
    pulling = [waiting("base", "ContainerCreating")]
    assert look_at(pod_of(phase="Pending", containerStatuses=pulling), waited=1.0, start_seconds=60.0) == "starting"
