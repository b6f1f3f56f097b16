"""Limits of an organisation and of all, and what the relay's look at the outbox must not forget."""

from __future__ import annotations

import pytest

from api.relay.repository import Limits, take_entries
from tests.api.control_plane import ControlPlane, workflow
from tests.api.relay.test_limits import TestFairness, end, rows

pytestmark = pytest.mark.platform


async def take(plane: ControlPlane, count: int = 8, **limits: int) -> list[str]:
    async with plane.database.system() as session:
        entries = await take_entries(session, count, 60, limits=Limits(**limits))
    return [str(entry.execution_id) for entry in entries]


@pytest.mark.parametrize("limit", ["of_an_organization", "of_all"])
class TestTotal:
    async def test_never_more_and_in_order(self, control_plane: ControlPlane, limit: str) -> None:
        digest = (await control_plane.publish())["digest"]
        await control_plane.publish(workflow(id="other", trigger={"type": "manual"}))
        accepted = [await control_plane.execute(workflow_id=name) for name in ("greet", "other", "greet", "other")]
        assert await take(control_plane, **{limit: 2}) == accepted[:2]
        assert await take(control_plane, **{limit: 2}) == []
        await end(control_plane, accepted[0], digest)
        assert await take(control_plane, **{limit: 2}) == accepted[2:3]
        assert await take(control_plane) == accepted[3:]

    async def test_what_another_one_waits_for_is_never_held_back(self, control_plane: ControlPlane, limit: str) -> None:
        """Else a parent that holds the last place would wait for ever. A whole window of others stands before it."""
        await control_plane.publish()
        parent, *_, child = [await control_plane.execute() for _ in range(12)]
        assert await take(control_plane, **{limit: 1}) == [parent]
        await rows(
            control_plane,
            "WITH child AS (UPDATE workflow_executions SET parent_execution_id = CAST(:parent AS uuid)"
            " WHERE id::text = :child RETURNING id)"
            " UPDATE outbox SET called = true FROM child WHERE execution_id = child.id",
            parent=parent,
            child=child,
        )
        assert await take(control_plane, **{limit: 1}) == [child]

    async def test_one_that_came_back_has_its_place(self, control_plane: ControlPlane, limit: str) -> None:
        """Though older ones wait for one: they were delivered again after it was taken."""
        await control_plane.publish()
        older = [await control_plane.execute() for _ in range(10)]
        await rows(control_plane, "UPDATE outbox SET dead = true")
        younger = await control_plane.execute()
        assert await take(control_plane, **{limit: 1}) == [younger]
        await rows(control_plane, "UPDATE outbox SET dead = false, available_at = now()")
        assert await take(control_plane, **{limit: 1}) == [younger]
        assert len(await take(control_plane, 20)) == len(older)


async def test_a_call_stands_in_a_lane_of_its_own(control_plane: ControlPlane) -> None:
    digest = (await control_plane.publish())["digest"]
    await control_plane.publish(workflow(id="other", trigger={"type": "manual"}))
    parent = await control_plane.execute()
    await control_plane.lease(parent, digest)
    body = {"key": "step", "workflow_id": "other", "input": {"name": "Ann"}}
    response = await control_plane.call(parent, "children", body)
    assert response.status_code == 200, response.text
    assert await rows(control_plane, "SELECT called FROM outbox ORDER BY id") == [(False,), (True,)]


async def test_the_limit_of_all_is_shared_in_turns(control_plane: ControlPlane) -> None:
    await control_plane.publish()
    mine = [await control_plane.execute() for _ in range(5)]
    for slug in ("other-a", "other-b"):
        await TestFairness.copy_of_first(control_plane, slug)
    taken = await take(control_plane, of_all=4)
    assert len(taken) == 4
    assert len(set(taken) & set(mine)) == 2


async def test_no_entry_of_many_lanes_is_forgotten(control_plane: ControlPlane) -> None:
    await control_plane.publish(workflow(settings={"concurrency": {"limit": 1, "key": "{{ input.name }}"}}))
    first = {await control_plane.execute({"name": f"key {n}"}) for n in range(12)}
    second = {await control_plane.execute({"name": f"key {n}"}) for n in range(12)}
    assert set(await take(control_plane, 50)) == first
    await rows(control_plane, "UPDATE workflow_executions SET completed_at = now() WHERE relayed_at IS NOT NULL")
    assert set(await take(control_plane, 50)) == second
