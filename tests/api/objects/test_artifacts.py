"""Plans and DAG files as objects: the table holds the digest, and a lost one concerns its own workflow only."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from api.executions.acceptance import Acceptance
from api.executions.repository import ExecutionRepository
from api.objects.settings import ObjectSettings
from api.releases.service import collect_releases
from api.settings import Settings
from operators.execution.records import StepError
from tests.api.control_plane import ControlPlane, workflow

pytestmark = pytest.mark.platform


@pytest.fixture
def settings(settings: Settings, place: ObjectSettings) -> Settings:
    changes = {name: value for name, value in place if name.startswith("object_")}
    return settings.model_copy(update=changes | {"artifact_store": "objects"})


async def artifacts(plane: ControlPlane) -> list[Any]:
    async with plane.database.system() as session:
        statement = "SELECT sha256, content, location FROM artifacts ORDER BY created_at, sha256"
        return list((await session.execute(text(statement))).all())


async def released(plane: ControlPlane) -> dict[str, str]:
    body = (await plane.runtime.get("/runtime/v1/release")).json()
    return {entry["name"]: entry["sha256"] for entry in body["artifacts"]}


async def fetch(plane: ControlPlane, *digests: str) -> list[bytes | None]:
    """Get files as the bundle does."""
    answer = await plane.runtime.post("/runtime/v1/artifacts", json={"sha256": list(digests)})
    assert answer.status_code == 200, answer.text
    body, found = answer.content, []
    for _ in digests:
        size, body = body[:4], body[4:]
        if size == b"\xff\xff\xff\xff":
            found.append(None)
        else:
            length = int.from_bytes(size, "big")
            found.append(body[:length])
            body = body[length:]
    assert body == b""
    return found


def switch(plane: ControlPlane, store: str) -> None:
    plane.app.state.settings.artifact_store = store


async def lose(plane: ControlPlane, digest: str) -> None:
    (location,) = [row[2] for row in await artifacts(plane) if row[0] == digest]
    await plane.database.objects.delete(plane.organization_id, location)


def other(**changes: Any) -> dict[str, Any]:
    """Another workflow of the organisation."""
    return workflow(id="other", trigger={"type": "manual"}, **changes)


async def test_the_table_holds_the_digest(control_plane: ControlPlane) -> None:
    published = await control_plane.publish()
    rows = await artifacts(control_plane)
    assert len(rows) == 2
    assert all(row.content is None and f"/artifacts/{row.sha256}" in row.location for row in rows)
    files = await released(control_plane)
    assert published["digest"] in files.values()
    for digest, content in zip(files.values(), await fetch(control_plane, *files.values()), strict=True):
        assert content is not None
        assert hashlib.sha256(content).hexdigest() == digest
    control_plane.app.state.plans._plans.clear()
    assert (await control_plane.show(await control_plane.execute()))["digest"] == published["digest"]


async def test_switched_on_and_off_nothing_is_lost(control_plane: ControlPlane) -> None:
    switch(control_plane, "table")
    first = await control_plane.publish(workflow(version="1"))
    switch(control_plane, "objects")
    second = await control_plane.publish(workflow(version="2"))
    switch(control_plane, "table")
    third = await control_plane.publish(workflow(version="3"))
    digests = [published["digest"] for published in (first, second, third)]
    control_plane.app.state.plans._plans.clear()
    for digest, content in zip(digests, await fetch(control_plane, *digests), strict=True):
        assert content is not None
        assert hashlib.sha256(content).hexdigest() == digest
    kinds = {row.sha256: row.location is None for row in await artifacts(control_plane)}
    assert [kinds[digest] for digest in digests] == [True, False, True]


async def test_a_lost_one_concerns_its_workflow_only(control_plane: ControlPlane) -> None:
    lost, fine = await control_plane.publish(), await control_plane.publish(other())
    await lose(control_plane, lost["digest"])
    control_plane.app.state.plans._plans.clear()
    assert [content is None for content in await fetch(control_plane, lost["digest"], fine["digest"])] == [True, False]
    body = {"workflow_id": "greet", "input": {"name": "Ann"}}
    answer = await control_plane.api.post("/api/v1/workflows/execute", json=body)
    assert (answer.status_code, answer.json()["code"]) == (503, "artifact_lost")
    await control_plane.execute(workflow_id="other")
    # Publishing it again writes it anew, in a release of its own: who found it lost looks again.
    again = await control_plane.publish()
    assert (again["version"], int(again["release"])) == (1, int(fine["release"]) + 1)
    assert await fetch(control_plane, lost["digest"]) != [None]
    await control_plane.execute()
    assert (await control_plane.publish())["release"] == again["release"]


async def test_a_changed_one_is_lost(control_plane: ControlPlane) -> None:
    published = await control_plane.publish()
    (location,) = [row.location for row in await artifacts(control_plane) if row.sha256 == published["digest"]]
    await control_plane.database.objects.put(control_plane.organization_id, location, b"{}")
    assert await fetch(control_plane, published["digest"]) == [None]


async def test_an_execution_of_a_lost_plan_comes_to_an_end(control_plane: ControlPlane) -> None:
    published = await control_plane.publish()
    ended, cancelled = await control_plane.execute(), await control_plane.execute()
    await lose(control_plane, published["digest"])
    control_plane.app.state.plans._plans.clear()
    assert (await control_plane.api.post(f"/api/v1/executions/{cancelled}/cancel")).status_code == 200
    state, organization_id = control_plane.app.state, control_plane.organization_id
    async with control_plane.database.transaction(organization_id) as session:
        row = await ExecutionRepository(session, organization_id).lock(UUID(ended))
        assert row is not None
        ending = Acceptance(session, organization_id, state.settings, state.plans).ending()
        await ending.conclude(row, StepError(code="lost", message="lost"))
        assert (row.status, row.error_code) == ("failed", "artifact_lost")


async def test_the_store_is_away(control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    from api.objects.places import FolderPlace, ObjectsAwayError, S3Place

    def fails(*_: Any) -> None:
        raise ObjectsAwayError("away")

    for kind in (FolderPlace, S3Place):
        monkeypatch.setattr(kind, "put", fails)
    answer = await control_plane.api.post("/api/v1/workflows/greet/publish", json=workflow())
    assert (answer.status_code, answer.json()["code"]) == (503, "object_store_away")
    assert await artifacts(control_plane) == []
    monkeypatch.undo()


async def test_what_no_release_has_is_removed(control_plane: ControlPlane) -> None:
    for label in ("1", "2"):
        await control_plane.publish(workflow(version=label))
    before = [row.location for row in await artifacts(control_plane)]
    async with control_plane.database.system() as session:
        assert (await collect_releases(session, timedelta(0))).artifacts == 2
    after = [row.location for row in await artifacts(control_plane)]
    assert len(set(before) - set(after)) == 2
    from api.objects.places import ObjectLostError
    from api.objects.store import Kept

    for location in before:
        kept = Kept(location.rpartition("/")[2], 1_000_000, location)
        if location in after:
            await control_plane.database.objects.get(control_plane.organization_id, kept)
        else:
            with pytest.raises(ObjectLostError):
                await control_plane.database.objects.get(control_plane.organization_id, kept)
