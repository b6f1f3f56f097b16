"""Removing what nobody can need any more."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from api.releases.service import Collected, collect_releases
from tests.api.control_plane import ControlPlane, workflow

pytestmark = pytest.mark.platform

NOW = timedelta(0)


async def collect(control_plane: ControlPlane, keep: timedelta = NOW) -> Collected:
    async with control_plane.database.system() as session:
        return await collect_releases(session, keep)


async def publish(control_plane: ControlPlane, *labels: str) -> list[dict[str, Any]]:
    return [await control_plane.publish(workflow(version=label)) for label in labels]


async def files(control_plane: ControlPlane, path: str) -> list[str]:
    response = await control_plane.runtime.get(f"/runtime/v1/{path}")
    return sorted(entry["sha256"] for entry in response.json()["artifacts"])


async def test_replaced_versions_go_and_the_current_one_stays(control_plane: ControlPlane) -> None:
    await publish(control_plane, "1", "2", "3")
    current = await files(control_plane, "release")
    assert await collect(control_plane) == Collected(releases=2, files=4, artifacts=4)
    assert await files(control_plane, "release") == current
    assert await files(control_plane, "releases/1") == []
    response = await control_plane.runtime.post("/runtime/v1/artifacts", json={"sha256": current})
    assert response.status_code == 200
    assert await collect(control_plane) == Collected(0, 0, 0)


async def test_what_was_replaced_lately_stays(control_plane: ControlPlane) -> None:
    await publish(control_plane, "1", "2")
    assert await collect(control_plane, timedelta(hours=1)) == Collected(0, 0, 0)


@pytest.mark.parametrize("status", ["running", "success"])
async def test_version_of_an_execution_stays_until_that_goes(control_plane: ControlPlane, status: str) -> None:
    await publish(control_plane, "1")
    old = await files(control_plane, "release")
    await control_plane.api.post("/api/v1/workflows/execute", json={"workflow_id": "greet", "input": {"name": "Ann"}})
    await publish(control_plane, "2", "3")
    async with control_plane.database.system() as session:
        await session.execute(text("UPDATE workflow_executions SET status = :status"), {"status": status})
    assert (await collect(control_plane)).files == 2
    assert await files(control_plane, "releases/1") == old
    async with control_plane.database.system() as session:
        await session.execute(text("DELETE FROM workflow_executions"))
    assert (await collect(control_plane)).files == 2
    assert await files(control_plane, "releases/1") == []


async def test_content_that_came_back_stays(control_plane: ControlPlane) -> None:
    await publish(control_plane, "1", "2", "1")
    current = await files(control_plane, "release")
    assert await collect(control_plane) == Collected(releases=2, files=4, artifacts=2)
    assert await files(control_plane, "release") == current


async def test_difference_from_a_forgotten_release_is_everything(control_plane: ControlPlane) -> None:
    await publish(control_plane, "1", "2")
    await collect(control_plane)
    await publish(control_plane, "3")
    for since, told in (("1", None), ("2", "2")):
        body = (await control_plane.runtime.get("/runtime/v1/release", params={"since": since})).json()
        assert (body["since"], len(body["artifacts"])) == (told, 2)
