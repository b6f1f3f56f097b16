"""``settings.concurrency.key`` and ``settings.conflict`` at acceptance."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from tests.api.control_plane import ControlPlane, webhook, workflow

pytestmark = pytest.mark.platform


async def start(plane: ControlPlane, name: str = "Ann") -> Any:
    return await plane.api.post("/api/v1/workflows/execute", json={"workflow_id": "greet", "input": {"name": name}})


async def statuses(plane: ControlPlane) -> list[str]:
    async with plane.database.system() as session:
        rows = await session.scalars(text("SELECT status FROM workflow_executions ORDER BY accepted_at, id"))
        return list(rows)


def limited(conflict: str | None, **concurrency: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {"conflict": conflict} if conflict else {}
    if concurrency:
        settings["concurrency"] = concurrency
    return workflow(settings=settings)


class TestFail:
    async def test_reached(self, control_plane: ControlPlane) -> None:
        await control_plane.publish(limited("fail"))
        first = (await start(control_plane)).json()["execution_id"]
        response = await start(control_plane)
        problem = response.json()
        assert (response.status_code, problem["code"], problem["execution_id"]) == (409, "conflict", first)
        assert await statuses(control_plane) == ["pending"]

    async def test_room_again(self, control_plane: ControlPlane) -> None:
        await control_plane.publish(limited("fail"))
        first = (await start(control_plane)).json()["execution_id"]
        await control_plane.api.post(f"/api/v1/executions/{first}/cancel")
        assert (await start(control_plane)).status_code == 202

    async def test_each_key_by_itself(self, control_plane: ControlPlane) -> None:
        await control_plane.publish(limited("fail", limit=1, key="{{ input.name }}"))
        answers = [(await start(control_plane, name)).status_code for name in ("Ann", "Bob", "Ann")]
        assert answers == [202, 202, 409]

    async def test_many_at_once(self, control_plane: ControlPlane) -> None:
        await control_plane.publish(limited("fail", limit=3))
        answers = [
            response.status_code for response in await asyncio.gather(*(start(control_plane) for _ in range(12)))
        ]
        assert sorted(answers) == [202] * 3 + [409] * 9
        assert len(await statuses(control_plane)) == 3

    async def test_by_webhook(self, control_plane: ControlPlane) -> None:
        await control_plane.publish(limited("fail") | {"trigger": webhook("greet")})
        answers = [await control_plane.public.post("/webhook/default/greet", json={"name": "A"}) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [202, 409]


class TestUseExisting:
    async def test_reached(self, control_plane: ControlPlane) -> None:
        await control_plane.publish(limited("use_existing"))
        first, second = await start(control_plane), await start(control_plane, "Bob")
        assert (first.status_code, second.status_code) == (202, 200)
        assert second.json()["execution_id"] == first.json()["execution_id"]
        assert (first.json()["existing"], second.json()["existing"]) == (False, True)
        assert second.headers["location"] == first.headers["location"]

    async def test_many_at_once(self, control_plane: ControlPlane) -> None:
        await control_plane.publish(limited("use_existing"))
        responses = await asyncio.gather(*(start(control_plane) for _ in range(10)))
        assert len({response.json()["execution_id"] for response in responses}) == 1


class TestTerminateExisting:
    async def test_reached(self, control_plane: ControlPlane) -> None:
        await control_plane.publish(limited("terminate_existing", limit=2))
        for _ in range(3):
            assert (await start(control_plane)).status_code == 202
        assert await statuses(control_plane) == ["cancelled", "pending", "pending"]

    async def test_a_running_one_is_told_and_not_counted_any_more(self, control_plane: ControlPlane) -> None:
        digest = (await control_plane.publish(limited("terminate_existing")))["digest"]
        first = (await start(control_plane)).json()["execution_id"]
        await control_plane.lease(first, digest)
        second = (await start(control_plane)).json()["execution_id"]
        assert (await control_plane.show(first))["cancel_requested_at"] is not None
        third = (await start(control_plane)).json()["execution_id"]
        shown = [(await control_plane.show(each))["status"] for each in (first, second, third)]
        assert shown == ["running", "cancelled", "pending"]


class TestKey:
    async def test_it_is_kept_as_text(self, control_plane: ControlPlane) -> None:
        await control_plane.publish(limited(None, limit=1, key="{{ [input.name, 1] }}"))
        await start(control_plane)
        async with control_plane.database.system() as session:
            assert await session.scalar(text("SELECT concurrency_key FROM workflow_executions")) == '["Ann",1]'

    @pytest.mark.parametrize("name", ["x" * 501, "a\u0000b"])
    async def test_what_no_index_holds_is_kept_as_digest(self, control_plane: ControlPlane, name: str) -> None:
        await control_plane.publish(limited(None, limit=1, key="{{ input.name }}"))
        assert (await start(control_plane, name)).status_code == 202
        async with control_plane.database.system() as session:
            key = await session.scalar(text("SELECT concurrency_key FROM workflow_executions"))
        assert str(key).startswith("sha256:")

    async def test_it_fails(self, control_plane: ControlPlane) -> None:
        await control_plane.publish(limited(None, limit=1, key="{{ input.customer }}"))
        response = await start(control_plane)
        assert (response.status_code, response.json()["code"]) == (422, "invalid_input")
        assert "concurrency.key" in response.json()["detail"]
        assert await statuses(control_plane) == []
