"""Pauses of an organisation and of a workflow: what waits, and what does not."""

from __future__ import annotations

import pytest

from api.relay.repository import Entry, take_entries
from tests.api.control_plane import ControlPlane, workflow
from tests.api.relay.test_limits import rows

pytestmark = pytest.mark.platform


async def taken(plane: ControlPlane) -> list[Entry]:
    """Take all that is due; it is due again at once."""
    async with plane.database.system() as session:
        return await take_entries(session, 50, 0.0)


async def ids(plane: ControlPlane) -> list[str]:
    return [str(entry.execution_id) for entry in await taken(plane)]


@pytest.mark.parametrize("path", ["relay", "workflows/greet"])
class TestPause:
    async def test_anonymous(self, control_plane: ControlPlane, path: str) -> None:
        for action in ("pause", "resume"):
            assert (await control_plane.public.post(f"/api/v1/{path}/{action}")).status_code == 401

    async def test_executions_wait_in_their_order(self, control_plane: ControlPlane, path: str) -> None:
        await control_plane.publish()
        paused = (await control_plane.api.post(f"/api/v1/{path}/pause")).json()["paused_at"]
        assert paused is not None
        assert (await control_plane.api.post(f"/api/v1/{path}/pause")).json()["paused_at"] == paused
        accepted = [await control_plane.execute() for _ in range(3)]
        assert await ids(control_plane) == []
        assert (await control_plane.show(accepted[0]))["status"] == "pending"
        assert await rows(control_plane, "SELECT DISTINCT attempts FROM outbox") == [(0,)]
        answer = await control_plane.api.post(f"/api/v1/{path}/resume")
        assert (answer.status_code, answer.json()["paused_at"]) == (200, None)
        assert await ids(control_plane) == accepted

    async def test_age_counts_from_the_end_of_the_pause(self, control_plane: ControlPlane, path: str) -> None:
        await control_plane.publish()
        await control_plane.execute()
        await control_plane.execute()
        async with control_plane.database.system() as session:
            await take_entries(session, 1, 0.0)
        await rows(control_plane, "UPDATE outbox SET created_at = now() - interval '1 day'")
        await rows(
            control_plane,
            "UPDATE workflow_executions SET relayed_at = now() - interval '1 day' WHERE relayed_at IS NOT NULL",
        )
        # One has been tried for a day, the other one has only waited.
        before = sorted(
            (entry.age_seconds > 80_000, entry.tried_seconds > 80_000) for entry in await taken(control_plane)
        )
        assert before == [(True, False), (True, True)]
        await control_plane.api.post(f"/api/v1/{path}/pause")
        await control_plane.api.post(f"/api/v1/{path}/resume")
        after = [(entry.age_seconds < 60, entry.tried_seconds < 60) for entry in await taken(control_plane)]
        assert after == [(True, True)] * 2

    async def test_stops_pass(self, control_plane: ControlPlane, path: str) -> None:
        await control_plane.publish()
        execution_id = await control_plane.execute()
        assert await ids(control_plane) == [execution_id]
        await control_plane.api.post(f"/api/v1/{path}/pause")
        assert await ids(control_plane) == []
        await control_plane.api.post(f"/api/v1/executions/{execution_id}/cancel")
        assert [entry.kind for entry in await taken(control_plane)] == ["stop"]


async def test_other_workflows_go_on(control_plane: ControlPlane) -> None:
    await control_plane.publish()
    await control_plane.publish(workflow(id="other", trigger={"type": "manual"}))
    await control_plane.api.post("/api/v1/workflows/greet/pause")
    await control_plane.execute()
    other = await control_plane.execute(workflow_id="other")
    assert await ids(control_plane) == [other]


@pytest.mark.parametrize("name", ["missing", "not%20one", "%00"])
@pytest.mark.parametrize("action", ["pause", "resume"])
async def test_unknown_workflow(control_plane: ControlPlane, name: str, action: str) -> None:
    assert (await control_plane.api.post(f"/api/v1/workflows/{name}/{action}")).status_code == 404


async def test_state(control_plane: ControlPlane) -> None:
    await control_plane.publish()
    for _ in range(3):
        await control_plane.execute()
    await rows(control_plane, "UPDATE outbox SET dead = true WHERE id = (SELECT min(id) FROM outbox)")
    paused = (await control_plane.api.post("/api/v1/workflows/greet/pause")).json()
    state = (await control_plane.api.get("/api/v1/relay")).json()
    assert state == {"paused_at": None, "paused_workflows": [paused], "waiting": 2, "dead_letters": 1}
    state = (await control_plane.api.post("/api/v1/relay/pause")).json()
    assert state["paused_at"] is not None
    assert (await control_plane.api.get("/api/v1/relay")).json() == state
