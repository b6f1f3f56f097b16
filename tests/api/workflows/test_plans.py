"""Plans in memory: the ones used last, in bounds, each organisation's its own."""

from __future__ import annotations

from uuid import uuid4

import pytest

from api.releases.repository import ArtifactRepository
from api.workflows.plans import LoadedPlan, PlanCache
from tests.api.control_plane import ControlPlane, workflow

pytestmark = pytest.mark.platform


@pytest.fixture
async def digests(control_plane: ControlPlane) -> list[str]:
    """The digests of three published plans."""
    return [(await control_plane.publish(workflow(id=f"w{n}", trigger={"type": "manual"})))["digest"] for n in range(3)]


async def load(plane: ControlPlane, plans: PlanCache, digest: str) -> LoadedPlan:
    async with plane.database.transaction(plane.organization_id) as session:
        return await plans.load(session, plane.organization_id, digest)


async def test_keeps_those_used_last(control_plane: ControlPlane, digests: list[str]) -> None:
    plans = PlanCache(most=2)
    first, second = [await load(control_plane, plans, digest) for digest in digests[:2]]
    assert await load(control_plane, plans, digests[0]) is first
    await load(control_plane, plans, digests[2])
    assert await load(control_plane, plans, digests[0]) is first
    assert await load(control_plane, plans, digests[1]) is not second


async def test_keeps_so_many_bytes(control_plane: ControlPlane, digests: list[str]) -> None:
    async with control_plane.database.transaction(control_plane.organization_id) as session:
        artifacts = ArtifactRepository(session, control_plane.organization_id)
        sizes = [len(await artifacts.content(digest) or b"") for digest in digests]
    plans = PlanCache(most_bytes=sizes[0] + sizes[1])
    first, second = [await load(control_plane, plans, digest) for digest in digests[:2]]
    assert await load(control_plane, plans, digests[0]) is first
    assert await load(control_plane, plans, digests[1]) is second
    await load(control_plane, plans, digests[2])
    assert await load(control_plane, plans, digests[0]) is not first


async def test_what_is_too_large_is_read_each_time(control_plane: ControlPlane, digests: list[str]) -> None:
    plans = PlanCache(most_bytes=10)
    first = await load(control_plane, plans, digests[0])
    again = await load(control_plane, plans, digests[0])
    assert again is not first
    assert again == first


async def test_one_organisations_plan_is_no_other_ones(control_plane: ControlPlane, digests: list[str]) -> None:
    plans, other = PlanCache(), uuid4()
    await load(control_plane, plans, digests[0])
    async with control_plane.database.transaction(other) as session:
        with pytest.raises(AssertionError):
            await plans.load(session, other, digests[0])
