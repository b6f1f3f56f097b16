"""Which pods an organisation keeps warm: who says so, how many, and who is told. Without a cluster."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from api.settings import ImagePolicy, PodQuota, Settings
from tests.api.control_plane import ControlPlane
from tests.api.identity.people import People
from tests.api.namespaces.test_publish_with_pods import with_image

pytestmark = pytest.mark.platform

PATH = "/api/v1/warm-pods"
LIMITS = {"cpu": None, "memory": None, "ephemeral_storage": None}
ONE = {"image": "python:3.11-slim", "network": "none", "resource_limits": LIMITS, "size": 2}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    changes: dict[str, Any] = {
        "secret_key": SecretStr("k" * 32), "isolation": "kubernetes", "pod_quotas": {"*": PodQuota(pods=7)},
        "image_policies": {"*": ImagePolicy(allow=("python:3.*",))},
    }  # fmt: skip
    return settings.model_copy(update=changes)


@pytest.fixture
def people(control_plane: ControlPlane) -> People:
    return People(control_plane)


async def test_anonymous_and_below(control_plane: ControlPlane, people: People) -> None:
    body = {"pools": [ONE]}
    assert (await control_plane.public.put(PATH, json=body)).status_code == 401
    lead = await people.client("team_lead")
    assert (await lead.put(PATH, json=body)).status_code == 403
    assert (await lead.get(PATH)).json() == {"pools": [], "most": 3}


async def test_valid(people: People) -> None:
    owner, other = await people.client("organization_owner"), await people.client("organization_owner", "theirs")
    small = {"size": 1, "resource_limits": {"memory": "64Mi"}}
    answer = await owner.put(PATH, json={"pools": [{"size": 2}, small]})
    assert answer.status_code == 200, answer.text
    expected = [ONE, {**ONE, "size": 1, "resource_limits": {**LIMITS, "memory": "64Mi"}}]
    assert answer.json() == {"pools": expected, "most": 3} == (await owner.get(PATH)).json()
    assert (await other.get(PATH)).json()["pools"] == []
    assert (await owner.put(PATH, json={"pools": []})).json()["pools"] == []


@pytest.mark.parametrize(
    ("pools", "code"),
    [
        ([{"size": 4}], "beyond_platform"),
        ([{"size": 2}, {"size": 2, "network": "egress"}], "beyond_platform"),
        ([{"size": 1, "image": "alpine:3"}], "image_not_allowed"),
        ([{"size": 1, "image": "Not An Image"}], "invalid_request"),
        ([{"size": 1}, {"size": 1, "image": "docker.io/library/python:3.11-slim"}], "same_kind_twice"),
        ([{"size": 1}, {"size": 1, "resource_limits": {"memory": "512Mi"}}], "same_kind_twice"),
        ([{"size": 0}], "invalid_request"),
        ([{}], "invalid_request"),
        ([{"size": 1, "resource_limits": {"memory": "much"}}], "invalid_request"),
        ([{"size": 1, "resource_limits": {"memory": 5}}], "invalid_request"),
        ([{"size": 1, "namespace": "agent-factory-other"}], "invalid_request"),
        ([{"size": 1, "resource_limits": {"memory": f"{number}Mi"}} for number in range(64, 75)], "invalid_request"),
    ],
)
async def test_refused(pools: list[Any], code: str, people: People) -> None:
    owner = await people.client("organization_owner")
    answer = await owner.put(PATH, json={"pools": pools})
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
    assert (await owner.get(PATH)).json()["pools"] == []


async def test_without_kubernetes_there_are_none(
    people: People, settings: Settings, control_plane: ControlPlane
) -> None:
    owner = await people.client("organization_owner")
    control_plane.app.state.settings = settings.model_copy(update={"isolation": "process"})
    answer = await owner.put(PATH, json={"pools": [ONE]})
    assert (answer.status_code, answer.json()["code"]) == (409, "not_possible_here")


async def test_workers_are_told_of_their_organisations(control_plane: ControlPlane, people: People) -> None:
    owner, other = await people.client("organization_owner"), await people.client("organization_owner", "theirs")
    assert (await owner.put(PATH, json={"pools": [ONE]})).status_code == 200
    told = []
    for caller in (owner, other):
        answer = await caller.post("/api/v1/workflows/pods/publish", json=with_image(None))
        assert answer.status_code == 201, answer.text
        execution = await caller.post("/api/v1/workflows/execute", json={"workflow_id": "pods", "input": {}})
        path = f"/runtime/v1/executions/{execution.json()['execution_id']}/pods"
        told.append((await control_plane.runtime.get(path)).json()["warm"])
    limits = {"cpu_millicores": 1000, "memory_bytes": 536_870_912, "ephemeral_storage_bytes": 268_435_456}
    assert told == [[{"image": "python:3.11-slim", "network": "none", "limits": limits, "size": 2}], []]
