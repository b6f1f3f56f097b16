"""GET /api/v1/executions, with another organisation's executions in the same tables."""

from __future__ import annotations

import asyncio
import base64
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL

from tests.api.conftest import connected
from tests.api.control_plane import ControlPlane
from tests.api.filling import copy_workflows, fill

pytestmark = pytest.mark.platform

EXECUTIONS = "/api/v1/executions"
EACH = 60


@pytest.fixture
async def filled(control_plane: ControlPlane, owner_url: URL) -> ControlPlane:
    """Sixty executions of each of two organisations."""
    await control_plane.publish()

    def put_in() -> None:
        with connected(owner_url.set(drivername="postgresql").render_as_string(hide_password=False)) as cursor:
            copy_workflows(cursor, 1)
            fill(cursor, each=EACH, days=1)

    await asyncio.to_thread(put_in)
    return control_plane


async def page(plane: ControlPlane, **query: Any) -> dict[str, Any]:
    response = await plane.api.get(EXECUTIONS, params=query)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


async def pages(plane: ControlPlane, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        got = await page(plane, **query)
        found += got["executions"]
        if got["next"] is None:
            return found
        query["cursor"] = got["next"]


async def ids_of(plane: ControlPlane, *, ours: bool, where: str = "true") -> list[str]:
    comparison = "=" if ours else "<>"
    query = (
        "SELECT e.id FROM workflow_executions e JOIN organizations o ON o.id = e.organization_id"
        f" WHERE o.slug {comparison} 'default' AND {where} ORDER BY e.id DESC"
    )
    async with plane.database.system() as session:
        return [str(found) for found in await session.scalars(text(query))]


class TestListExecutions:
    async def test_anonymous(self, control_plane: ControlPlane) -> None:
        assert (await control_plane.public.get(EXECUTIONS)).status_code == 401

    async def test_none(self, control_plane: ControlPlane) -> None:
        assert await page(control_plane) == {"executions": [], "next": None}

    async def test_every_page_newest_first_and_the_own_ones_only(self, filled: ControlPlane) -> None:
        shown = [each["execution_id"] for each in await pages(filled, limit=7)]
        assert shown == await ids_of(filled, ours=True)
        assert len(shown) == EACH

    async def test_a_summary_holds_no_payload(self, filled: ControlPlane) -> None:
        (first,) = (await page(filled, limit=1))["executions"]
        assert not {"input", "output", "steps", "error"} & first.keys()
        shown = await filled.show(first["execution_id"])
        for name in ("execution_id", "workflow_id", "version", "status", "accepted_at", "completed_at", "duration_ms"):
            assert first[name] == shown[name], name

    @pytest.mark.parametrize(
        ("query", "where"),
        [
            ({"status": "failed"}, "e.status = 'failed'"),
            ({"status": ["failed", "running"]}, "e.status IN ('failed', 'running')"),
            ({"trigger": "schedule"}, "e.trigger ->> 'type' = 'schedule'"),
            ({"error_code": "timeout"}, "e.error ->> 'code' = 'timeout'"),
            ({"workflow_id": "greet", "version": 1}, "true"),
            ({"workflow_id": "greet", "version": 2}, "false"),
            ({"workflow_id": "other"}, "false"),
            ({"min_duration_ms": 80}, "e.completed_at - e.accepted_at >= interval '80 ms'"),
            ({"max_duration_ms": 80, "status": "success"}, "e.completed_at - e.accepted_at <= interval '80 ms'"
             " AND e.status = 'success'"),
            ({"parent_execution_id": "01990000-0000-7000-8000-000000000001"}, "false"),
        ],
    )  # fmt: skip
    async def test_filters(self, filled: ControlPlane, query: dict[str, Any], where: str) -> None:
        shown = [each["execution_id"] for each in await pages(filled, limit=9, **query)]
        assert shown == await ids_of(filled, ours=True, where=where)

    async def test_between(self, filled: ControlPlane) -> None:
        everything = await pages(filled)
        first, last = everything[40]["accepted_at"], everything[20]["accepted_at"]
        shown = await pages(filled, accepted_from=first, accepted_before=last)
        assert shown == everything[21:41]

    async def test_children_of_an_execution(self, filled: ControlPlane) -> None:
        child, parent = (await ids_of(filled, ours=True))[:2]
        async with filled.database.system() as session:
            statement = "UPDATE workflow_executions SET parent_execution_id = :parent WHERE id = :child"
            await session.execute(text(statement), {"parent": UUID(parent), "child": UUID(child)})
        (shown,) = await pages(filled, parent_execution_id=parent)
        assert shown["execution_id"] == child

    async def test_new_executions_do_not_move_the_pages(self, filled: ControlPlane) -> None:
        before = await ids_of(filled, ours=True)
        first = await page(filled, limit=10)
        for _ in range(3):
            await filled.execute()
        second = await page(filled, limit=10, cursor=first["next"])
        assert [each["execution_id"] for each in second["executions"]] == before[10:20]

    @pytest.mark.parametrize(
        "query",
        [
            {"limit": 0}, {"limit": 201}, {"status": "done"}, {"version": 1}, {"version": 0, "workflow_id": "greet"},
            {"workflow_id": "a\u0000"}, {"error_code": "\u0000"}, {"trigger": "magic"}, {"parent_execution_id": "x"},
            {"accepted_from": "2026-01-01T00:00:00"}, {"accepted_from": "0001-01-01T00:00:00+14:00"},
            {"accepted_before": "9999-12-31T23:59:59-14:00"}, {"min_duration_ms": "nan"}, {"min_duration_ms": 1e300},
            {"organization_id": "x"}, {"cursor": "x" * 300},
        ],
    )  # fmt: skip
    async def test_wrong_questions(self, control_plane: ControlPlane, query: dict[str, Any]) -> None:
        assert (await control_plane.api.get(EXECUTIONS, params=query)).status_code == 422


class TestCursor:
    async def refused(self, plane: ControlPlane, cursor: str, **query: Any) -> None:
        response = await plane.api.get(EXECUTIONS, params={"cursor": cursor} | query)
        assert (response.status_code, response.json()["code"]) == (422, "invalid_cursor")

    @pytest.mark.parametrize("cursor", ["", "x", "€", "AAAA", "01990000-0000-7000-8000-000000000001", "%00", "A" * 43])
    async def test_forged(self, filled: ControlPlane, cursor: str) -> None:
        await self.refused(filled, cursor)

    async def test_changed(self, filled: ControlPlane) -> None:
        cursor = (await page(filled, limit=5))["next"]
        raw = bytearray(base64.urlsafe_b64decode(cursor + "=="))
        raw[3] ^= 1
        await self.refused(filled, base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("="))

    async def test_of_other_filters(self, filled: ControlPlane) -> None:
        cursor = (await page(filled, limit=5))["next"]
        await self.refused(filled, cursor, status="success")

    async def test_of_another_organisation(self, filled: ControlPlane) -> None:
        cursor = (await page(filled, limit=5))["next"]
        ours = filled.organization_id
        async with filled.database.system() as session:
            query = text("SELECT id FROM organizations WHERE slug <> 'default'")
            filled.act_for(await session.scalar(query))
        theirs = await page(filled, limit=200)
        assert [each["execution_id"] for each in theirs["executions"]] == await ids_of(filled, ours=False)
        await self.refused(filled, cursor)
        filled.act_for(ours)

    async def test_another_limit_goes_on(self, filled: ControlPlane) -> None:
        cursor = (await page(filled, limit=5))["next"]
        rest = await page(filled, limit=200, cursor=cursor)
        assert [each["execution_id"] for each in rest["executions"]] == (await ids_of(filled, ours=True))[5:]
