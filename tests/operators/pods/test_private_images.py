"""Images that need a key: each organisation's pods have its own, and none starts what a node pulled for another."""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes import client

from operators.execution.records import PodSettings
from operators.pods import warm
from operators.pods.spec import Place, build_pod
from tests.operators.pods.test_warm_pods import CONTAINER, JAVASCRIPT, KIND, PYTHON, job_of

pytestmark = pytest.mark.unit

PINNED = {**CONTAINER, "runtime_image": "registry.example/acme/x@sha256:" + "0" * 64}
TASKS = {"python": PYTHON, "javascript": JAVASCRIPT, "container": CONTAINER, "pinned": PINNED}


def settings_with(**changes: Any) -> PodSettings:
    return PodSettings(namespace="agent-factory-acme", runner_image="runner:1", warm=[KIND], **changes)


def spec_of(pod: Any) -> dict[str, Any]:
    spec: dict[str, Any] = client.ApiClient().sanitize_for_serialization(pod)["spec"]
    return spec


def pod_of(task: dict[str, Any], settings: PodSettings) -> dict[str, Any]:
    job = job_of(task)
    return spec_of(build_pod("x", Place("x", 0, "u", "s").labels("none"), job.pod, job.program, settings, 600))


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_pod_has_the_organisations_keys_and_asks_the_registry_each_time(task: dict[str, Any]) -> None:
    spec = pod_of(task, settings_with(pull_secrets=["ours", "more"], always_pull=True))
    assert spec["imagePullSecrets"] == [{"name": "ours"}, {"name": "more"}]
    base, *trusted = [*spec["containers"], *spec["initContainers"]]
    assert (base["name"], base["imagePullPolicy"]) == ("base", "Always")
    assert {each["imagePullPolicy"] for each in trusted} == {"IfNotPresent"}, "our own image is nobody's secret"


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_an_organisation_without_keys_asks_too_where_another_has_some(task: dict[str, Any]) -> None:
    spec = pod_of(task, settings_with(always_pull=True))
    assert "imagePullSecrets" not in spec
    assert spec["containers"][0]["imagePullPolicy"] == "Always"


def test_a_warm_pod_too() -> None:
    settings = settings_with(pull_secrets=["ours"], always_pull=True)
    spec = spec_of(warm.warm_pod(KIND, settings))
    assert spec["imagePullSecrets"] == [{"name": "ours"}]
    assert spec["containers"][0]["imagePullPolicy"] == "Always"


def test_where_nobody_has_keys_what_a_node_has_is_started() -> None:
    assert pod_of(CONTAINER, settings_with())["containers"][0]["imagePullPolicy"] == "IfNotPresent"
