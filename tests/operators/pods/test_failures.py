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
    document = {"metadata": {"name": "af-x"}, "spec": {"containers": [{"name": "base"}]}, "status": status}
    read: client.V1Pod = client.ApiClient().deserialize(SimpleNamespace(data=json.dumps(document)), "V1Pod")
    return read


def waiting(name: str, reason: str, message: str = "") -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"name": name, "state": state, "image": "i", "imageID": "", "ready": False, "restartCount": 0}


def ended(name: str, code: int, reason: str = "Error") -> dict[str, Any]:
    state = {"terminated": {"exitCode": code, "reason": reason}}
    return {"name": name, "state": state, "image": "i", "imageID": "", "ready": False, "restartCount": 0}


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
