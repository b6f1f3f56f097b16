"""What a warm pod is made from, and which jobs it fits. Without a cluster."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import pytest
from kubernetes import client

from compiler.plan import Step
from compiler.planning import limits_of
from operators.execution.records import PodSettings, WarmPods
from operators.pods import warm
from operators.pods.jobs import PodJob, programs
from operators.pods.spec import Place, build_pod
from operators.steps.registry import IN_PODS
from tests.kubernetes.cluster import code, compiled

pytestmark = pytest.mark.unit

KIND = WarmPods(image="python:3.11-slim", network="none", limits=limits_of(None), size=1)
SETTINGS = PodSettings(namespace="agent-factory-acme", runner_image="runner:1", runtime_class="gvisor", warm=[KIND])
PYTHON = code("a", "def main(input):\n    return 1\n")
JAVASCRIPT = {**PYTHON, "code": "function main() {}", "config": {"language": "javascript", "input": {}}}
CONTAINER = {"id": "a", "type": "container", "runtime_image": "python:3.11-slim", "config": {"command": ["x"]}}


def job_of(task: dict[str, Any]) -> PodJob:
    step: Step = compiled(task).steps[0]
    job: PodJob = IN_PODS[step.type].render(step, {"input": {}})
    return job


def pool_of(kind: WarmPods, settings: PodSettings = SETTINGS) -> str:
    label: str = warm.warm_pod(kind, settings).metadata.labels[warm.POOL]
    return label


def test_it_is_the_pod_of_a_step_with_its_programs_in_it() -> None:
    job, labels = job_of(PYTHON), Place("x", 0, "unit", "slot").labels("none")
    cold = build_pod("x", labels, job.pod, job.program, SETTINGS, 600)
    sent, other = (client.ApiClient().sanitize_for_serialization(pod)["spec"] for pod in (
        warm.warm_pod(KIND, SETTINGS), cold))  # fmt: skip
    carried = sent["initContainers"][0].pop("command")
    assert json.loads(zlib.decompress(base64.b64decode(carried[-1]))) == programs()
    # An argument may have 128 KiB.
    assert len(carried[-1]) < 100_000
    assert sent["containers"][1].pop("command")[-2:] == ["idle", str(warm.ORPHAN_SECONDS)]
    # It is brought forward when the pod gets its job.
    assert sent.pop("activeDeadlineSeconds") > 600
    del other["initContainers"][0]["command"], other["containers"][1]["command"], other["activeDeadlineSeconds"]
    assert sent == other


@pytest.mark.parametrize(
    ("task", "fits"),
    [
        (PYTHON, True),
        ({**PYTHON, "runtime_image": "docker.io/library/python:3.11-slim"}, True),
        ({**PYTHON, "resource_limits": {"memory": "512Mi"}}, True),
        ({**PYTHON, "resource_limits": {"memory": "513Mi"}}, False),
        ({**PYTHON, "resource_limits": {"cpu": "2"}}, False),
        ({**PYTHON, "runtime_image": "python:3.12-slim"}, False),
        ({**PYTHON, "config": {**PYTHON["config"], "network": "egress"}}, False),
        ({**JAVASCRIPT, "runtime_image": "python:3.11-slim"}, False),
        (CONTAINER, False),
    ],
)
def test_it_fits_python_steps_of_its_kind(task: dict[str, Any], fits: bool) -> None:
    assert warm.kind_for(job_of(task), SETTINGS) == (KIND if fits else None)


@pytest.mark.parametrize(
    "change",
    [{"runner_image": "runner:2"}, {"runtime_class": None}, {"pull_secrets": ["x"]}, {"namespace": "other"}],
)
def test_what_pods_are_made_with_is_part_of_its_kind(change: dict[str, Any]) -> None:
    same = pool_of(KIND, SETTINGS.model_copy(update=change)) == pool_of(KIND)
    # The namespace is a wall of its own.
    assert same is ("namespace" in change)
    assert pool_of(KIND.model_copy(update={"size": 7})) == pool_of(KIND)


def test_a_change_of_our_programs_is_another_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    before = pool_of(KIND)
    monkeypatch.setattr(warm, "_carried", lambda: "another")
    assert pool_of(KIND) != before
