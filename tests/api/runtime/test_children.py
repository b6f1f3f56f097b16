"""/runtime/v1/executions/{id}/children: what ``workflow`` steps start."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import ANY
from uuid import uuid4

import pytest

from tests.api.control_plane import UNIT, WORKFLOW_ID, ControlPlane, lease_request, workflow

pytestmark = pytest.mark.platform


def request(key: str = "key", workflow_id: str = "child", **fields: Any) -> dict[str, Any]:
    return {"key": key, "workflow_id": workflow_id, "input": {"name": "Bob"}, **fields}


def callable_workflow(workflow_id: str, **changes: Any) -> dict[str, Any]:
    return workflow(id=workflow_id, trigger={"type": "workflow", "config": {}}, **changes)


@pytest.fixture
async def parent(control_plane: ControlPlane) -> str:
    await control_plane.publish()
    await control_plane.publish(callable_workflow("child"))
    return await control_plane.execute()


async def start(plane: ControlPlane, parent: str, **fields: Any) -> dict[str, Any]:
    response = await plane.call(parent, "children", request(**fields))
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


async def end(plane: ControlPlane, execution_id: str, digest: str, workflow_id: str, **fields: Any) -> None:
    token = (await plane.lease(execution_id, digest, workflow_id=workflow_id))["token"]
    await plane.call(execution_id, "finish", {"unit": UNIT, "token": token, "status": "success", **fields})


class TestStart:
    async def test_only_workers(self, control_plane: ControlPlane, parent: str) -> None:
        for client in (control_plane.public, control_plane.api):
            response = await client.post(f"/runtime/v1/executions/{parent}/children", json=request())
            assert response.status_code == 401

    async def test_it_is_an_execution_of_its_own(self, control_plane: ControlPlane, parent: str) -> None:
        child = await start(control_plane, parent)
        assert (child["status"], child["refused"]) == ("pending", None)
        shown = await control_plane.show(child["execution_id"])
        assert (shown["workflow_id"], shown["input"]) == ("child", {"name": "Bob"})
        assert shown["trigger"] == {"type": "workflow", "method": None, "path": None, "headers": {}, "query": {}}

    async def test_the_same_key_starts_it_once(self, control_plane: ControlPlane, parent: str) -> None:
        started = await asyncio.gather(*(start(control_plane, parent) for _ in range(10)))
        assert len({child["execution_id"] for child in started}) == 1
        assert (await start(control_plane, parent, key="other"))["execution_id"] != started[0]["execution_id"]
        other_parent = await control_plane.execute()
        assert (await start(control_plane, other_parent))["execution_id"] != started[0]["execution_id"]

    async def test_it_shows_how_the_child_ended(self, control_plane: ControlPlane, parent: str) -> None:
        child = await start(control_plane, parent)
        digest = (await control_plane.publish(callable_workflow("child")))["digest"]
        await end(control_plane, child["execution_id"], digest, "child", output={"n": 1})
        ended = await start(control_plane, parent)
        assert (ended["status"], ended["output"]) == ("success", {"n": 1})

    @pytest.mark.parametrize(
        ("fields", "code"),
        [
            ({"workflow_id": "nobody"}, "unknown_workflow"),
            ({"workflow_id": "picky", "input": {}}, "invalid_input"),
        ],
    )
    async def test_refused(self, control_plane: ControlPlane, parent: str, fields: dict[str, Any], code: str) -> None:
        await control_plane.publish(callable_workflow("picky", input={"type": "object", "required": ["n"]}))
        child = await start(control_plane, parent, **fields)
        assert (child["execution_id"], child["refused"]["code"]) == ("", code)

    async def test_a_workflow_that_calls_itself(self, control_plane: ControlPlane, parent: str) -> None:
        above, depths = parent, []
        for _ in range(4):
            child = await start(control_plane, above, workflow_id=WORKFLOW_ID)
            depths.append(child["refused"] and child["refused"]["code"])
            above = child["execution_id"] or above
        assert depths == [None, None, None, "depth_exceeded"]

    async def test_an_ended_parent_starts_nothing(self, control_plane: ControlPlane, parent: str) -> None:
        assert (await control_plane.api.post(f"/api/v1/executions/{parent}/cancel")).is_success
        response = await control_plane.call(parent, "children", request())
        assert (response.status_code, response.json()["code"]) == (410, "execution_ended")

    async def test_unknown_parent(self, control_plane: ControlPlane) -> None:
        assert (await control_plane.call(str(uuid4()), "children", request())).status_code == 404


class TestCancel:
    async def cancel(self, plane: ControlPlane, parent: str, child: str) -> int:
        response = await plane.runtime.delete(f"/runtime/v1/executions/{parent}/children/{child}")
        return response.status_code

    async def test_the_child_ends(self, control_plane: ControlPlane, parent: str) -> None:
        child = (await start(control_plane, parent))["execution_id"]
        assert await self.cancel(control_plane, parent, child) == 204
        assert (await control_plane.show(child))["status"] == "cancelled"
        assert await self.cancel(control_plane, parent, child) == 204, "the same again is harmless"

    async def test_nobody_elses_child(self, control_plane: ControlPlane, parent: str) -> None:
        child = (await start(control_plane, parent))["execution_id"]
        assert await self.cancel(control_plane, await control_plane.execute(), child) == 204
        assert (await control_plane.show(child))["status"] == "pending"

    async def test_the_parents_end_takes_it_along_unless_it_is_detached(
        self, control_plane: ControlPlane, parent: str
    ) -> None:
        child = (await start(control_plane, parent))["execution_id"]
        detached = (await start(control_plane, parent, key="detached", detached=True))["execution_id"]
        assert (await control_plane.api.post(f"/api/v1/executions/{parent}/cancel")).is_success
        assert (await control_plane.show(child))["status"] == "cancelled"
        assert (await control_plane.show(detached))["status"] == "pending"


class TestWatch:
    async def test_the_end_of_a_child_is_news(self, control_plane: ControlPlane, parent: str) -> None:
        child = (await start(control_plane, parent))["execution_id"]
        path = f"/runtime/v1/executions/{parent}/watch"
        nothing = await control_plane.runtime.get(path, params={"awaited": child, "wait": "0s"})
        assert nothing.json() == {"halted": False, "done": False, "now": ANY}
        watch = asyncio.create_task(control_plane.runtime.get(path, params={"awaited": child, "wait": "20s"}))
        assert (await control_plane.api.post(f"/api/v1/executions/{child}/cancel")).is_success
        assert (await watch).json() == {"halted": False, "done": True, "now": ANY}

    async def test_the_end_of_one_of_several_is_news(self, control_plane: ControlPlane, parent: str) -> None:
        children = [(await start(control_plane, parent, key=key))["execution_id"] for key in ("one", "two", "three")]
        path = f"/runtime/v1/executions/{parent}/watch"
        awaited = {"awaited": [*children, str(uuid4())]}
        nothing = await control_plane.runtime.get(path, params=awaited | {"wait": "0s"})
        assert nothing.json() == {"halted": False, "done": False, "now": ANY}
        watch = asyncio.create_task(control_plane.runtime.get(path, params=awaited | {"wait": "20s"}))
        assert (await control_plane.api.post(f"/api/v1/executions/{children[1]}/cancel")).is_success
        assert (await watch).json() == {"halted": False, "done": True, "now": ANY}
        too_many = await control_plane.runtime.get(path, params={"awaited": [str(uuid4())] * 101})
        assert too_many.status_code == 422

    async def test_bad_requests(self, control_plane: ControlPlane, parent: str) -> None:
        path = f"/runtime/v1/executions/{parent}/watch"
        assert (await control_plane.runtime.get(path, params={"awaited": "x"})).status_code == 422
        assert (await control_plane.runtime.get(path, params={"wait": "soon"})).status_code == 422
        assert (await control_plane.api.get(path)).status_code == 401
        unknown = await control_plane.runtime.get(f"/runtime/v1/executions/{uuid4()}/watch")
        assert unknown.status_code == 404

    async def test_a_lease_after_the_wait(self, control_plane: ControlPlane, parent: str) -> None:
        digest = (await control_plane.publish())["digest"]
        grant = await control_plane.lease(parent, digest)
        waiting = {"id": "hello", "status": "running", "attempts": 1, "started_at": "2026-05-01T12:00:00Z"}
        body = {"unit": UNIT, "token": grant["token"], "steps": [waiting]}
        assert (await control_plane.call(parent, "steps", body)).is_success
        assert (await control_plane.call(parent, "settle", {"unit": UNIT, "token": grant["token"]})).is_success
        shown = {step["id"]: step["status"] for step in (await control_plane.show(parent))["steps"]}
        assert shown == {"hello": "running", "bye": "pending"}
        again = (await control_plane.call(parent, "lease", lease_request(digest, owner="second"))).json()
        assert again["steps"]["hello"]["started_at"] == "2026-05-01T12:00:00Z"
