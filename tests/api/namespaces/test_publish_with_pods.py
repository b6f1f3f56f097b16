"""Workflows with pods: which images they may name, and what is told of pods. Without a cluster."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from api.namespaces.repository import EndedRepository
from api.settings import ImagePolicy, Settings
from tests.api.agents.designing import make_agent
from tests.api.control_plane import ControlPlane

pytestmark = pytest.mark.platform

PINNED = "registry.example/acme/x@sha256:" + "0" * 64


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Pods, whose namespaces somebody else keeps; two images are allowed, the others are not."""
    policy = ImagePolicy(allow=("python:3.*", "registry.example/acme/*"))
    return settings.model_copy(update={"isolation": "kubernetes", "image_policies": {"*": policy}})


def with_image(image: str | None) -> dict[str, Any]:
    fields = {} if image is None else {"runtime_image": image}
    config = {"language": "python", "input": {}}
    task = {"id": "a", "type": "code", "code": "def main(input):\n    return 1\n", "config": config, **fields}
    return {"id": "pods", "name": "Pods", "version": "1", "trigger": {"type": "manual", "config": {}}, "tasks": [task]}


@pytest.mark.parametrize(
    ("image", "status"), [(None, 201), ("python:3.12", 201), (PINNED, 201), ("alpine:3", 422), ("evil/python:3.1", 422)]
)
async def test_published_by_source(image: str | None, status: int, control_plane: ControlPlane) -> None:
    answer = await control_plane.api.post("/api/v1/workflows/pods/publish", json=with_image(image))
    assert answer.status_code == status, answer.text
    if status == 422:
        assert (answer.json()["code"], answer.json()["task_id"]) == ("image_not_allowed", "a")


async def test_published_as_a_draft(control_plane: ControlPlane) -> None:
    agent = await make_agent(control_plane, with_image("alpine:3"))
    answer = await agent.post("publish", headers={"if-match": await agent.etag()})
    assert (answer.status_code, answer.json()["code"]) == (422, "image_not_allowed")
    assert (await agent.show())["status"] == "draft"


async def test_put_back_after_the_policy_changed(control_plane: ControlPlane, settings: Settings) -> None:
    agent = await make_agent(control_plane, with_image("python:3.12"))
    await agent.publish()
    assert (await agent.post("archive")).status_code == 200
    control_plane.app.state.settings = settings.model_copy(update={"image_policies": {"*": ImagePolicy(allow=())}})
    answer = await agent.post("unarchive")
    assert (answer.status_code, answer.json()["code"]) == (422, "image_not_allowed")


async def test_without_its_cluster_nothing_is_published(
    control_plane: ControlPlane, settings: Settings, tmp_path: Path
) -> None:
    missing = settings.model_copy(update={"kubernetes_config": str(tmp_path / "none")})
    control_plane.app.state.settings = missing
    answer = await control_plane.api.post("/api/v1/workflows/pods/publish", json=with_image(None))
    assert (answer.status_code, answer.json()["code"]) == (503, "cluster_away")
    assert "none" not in answer.json()["detail"]
    control_plane.app.state.settings = settings
    answer = await control_plane.api.post("/api/v1/workflows/pods/publish", json=with_image(None))
    assert (answer.status_code, answer.json()["version"]) == (201, 1)


async def started(plane: ControlPlane) -> str:
    await plane.api.post("/api/v1/workflows/pods/publish", json=with_image(None))
    answer = await plane.api.post("/api/v1/workflows/execute", json={"workflow_id": "pods", "input": {}})
    return str(answer.json()["execution_id"])


async def test_a_worker_is_told_how_pods_are_made(control_plane: ControlPlane) -> None:
    answer = await control_plane.runtime.get(f"/runtime/v1/executions/{await started(control_plane)}/pods")
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["namespace"] == "agent-factory-default"
    assert (told["images"], told["digests"]) == (["python:3.*", "registry.example/acme/*"], False)


@pytest.mark.parametrize(
    ("common", "policies", "secrets", "always"),
    [
        ((), {}, [], False),
        (("common",), {}, ["common"], True),
        (("common",), {"default": ImagePolicy(allow=None)}, ["common"], True),
        (("common",), {"default": ImagePolicy(pull_secrets=())}, [], True),
        ((), {"*": ImagePolicy(pull_secrets=("of-all",))}, ["of-all"], True),
        ((), {"default": ImagePolicy(pull_secrets=("ours",)), "*": ImagePolicy(pull_secrets=("x",))}, ["ours"], True),
        # A node may have the image that another organisation pulled.
        ((), {"theirs": ImagePolicy(pull_secrets=("theirs",))}, [], True),
    ],
)
async def test_a_worker_is_told_its_organisations_keys_of_registries(
    common: tuple[str, ...],
    policies: dict[str, ImagePolicy],
    secrets: list[str],
    always: bool,
    control_plane: ControlPlane,
    settings: Settings,
) -> None:
    changes = {"pod_pull_secrets": common, "image_policies": policies}
    control_plane.app.state.settings = settings.model_copy(update=changes)
    told = await control_plane.runtime.get(f"/runtime/v1/executions/{await started(control_plane)}/pods")
    assert (told.json()["pull_secrets"], told.json()["always_pull"]) == (secrets, always)


async def test_what_the_reconciler_is_told_of_executions(control_plane: ControlPlane) -> None:
    running, over = await started(control_plane), await started(control_plane)
    await control_plane.api.post(f"/api/v1/executions/{over}/cancel")
    asked = [UUID(running), UUID(over), uuid4()]

    async def told(organization_id: UUID, seconds: float) -> dict[UUID, bool]:
        async with control_plane.database.transaction(organization_id) as session:
            return await EndedRepository(session, organization_id).among(asked, timedelta(seconds=seconds))

    ours = control_plane.organization_id
    assert await told(ours, 0) == {UUID(running): False, UUID(over): True}
    assert await told(ours, 60) == {UUID(running): False, UUID(over): False}
    assert await told(uuid4(), 0) == {}
