"""GET /api/v1/approvals, GET .../{id}, POST .../{id}/decision, on a real database."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from api.organizations.repository import OrganizationRepository
from operators.execution.records import StepError, StepRecord
from tests.api.control_plane import UNIT, ControlPlane

pytestmark = pytest.mark.platform

APPROVALS = "/api/v1/approvals"
NOBODYS = "01990000-0000-7000-8000-00000000000a"


class Asked:
    """An execution whose step ``hello`` asks."""

    def __init__(self, plane: ControlPlane, execution_id: str, token: int) -> None:
        self.plane = plane
        self.execution_id = execution_id
        self.token = token
        self.id = ""

    async def ask(self, **fields: Any) -> dict[str, Any]:
        path = f"/runtime/v1/executions/{self.execution_id}/approvals/hello"
        response = await self.plane.runtime.put(path, json={"epoch": 0, "title": "Pay?"} | fields)
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        self.id = body["id"]
        return body

    async def decide(self, decision: str = "approve", **fields: Any) -> httpx.Response:
        return await self.plane.api.post(f"{APPROVALS}/{self.id}/decision", json={"decision": decision} | fields)

    async def show(self) -> dict[str, Any]:
        response = await self.plane.api.get(f"{APPROVALS}/{self.id}")
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    async def pass_time(self, seconds: float) -> None:
        async with self.plane.database.system() as session:
            statement = "UPDATE approvals SET due_at = due_at - :age * interval '1 s'"
            await session.execute(text(statement), {"age": seconds})


async def begin(plane: ControlPlane, **fields: Any) -> Asked:
    digest = (await plane.publish())["digest"]
    execution_id = await plane.execute()
    token = (await plane.lease(execution_id, digest))["token"]
    asked = Asked(plane, execution_id, token)
    await asked.ask(**fields)
    return asked


class TestDecide:
    async def test_anonymous(self, control_plane: ControlPlane) -> None:
        path = f"{APPROVALS}/{NOBODYS}/decision"
        assert (await control_plane.public.post(path, json={"decision": "approve"})).status_code == 401

    @pytest.mark.parametrize("name", ["no-id", NOBODYS])
    async def test_unknown(self, control_plane: ControlPlane, name: str) -> None:
        response = await control_plane.api.post(f"{APPROVALS}/{name}/decision", json={"decision": "approve"})
        assert (response.status_code, response.json()["code"]) == (404, "not_found")

    async def test_who_and_when_and_why(self, control_plane: ControlPlane) -> None:
        asked = await begin(control_plane, body="a\u0000b", assignees=["Ünal"], timeout_seconds=60)
        response = await asked.decide("reject", by="Ünal", comment="too much \u0000", via="cli")
        assert response.status_code == 200, response.text
        shown = await asked.show()
        assert shown == response.json()
        assert shown["decided_at"] is not None
        expected = {
            "status": "decided", "decision": "reject", "by": "Ünal", "comment": "too much \u0000", "via": "cli",
            "title": "Pay?", "body": "a\u0000b", "workflow_id": "greet", "step_id": "hello",
            "execution_id": asked.execution_id, "url": f"http://factory.test{APPROVALS}/{asked.id}",
        }  # fmt: skip
        assert {name: shown[name] for name in expected} == expected

    async def test_again(self, control_plane: ControlPlane) -> None:
        asked = await begin(control_plane)
        first = (await asked.decide(by="ann")).json()
        again = await asked.decide(by="ann")
        assert (again.status_code, again.json()) == (200, first)
        for decision, by in (("reject", "ann"), ("approve", "bob")):
            other = await asked.decide(decision, by=by)
            problem = other.json()
            assert (other.status_code, problem["code"], problem["decision"], problem["by"]) == (
                409, "already_decided", "approve", "ann",
            )  # fmt: skip
            assert problem["at"]

    async def test_of_two_at_once_one_wins(self, control_plane: ControlPlane) -> None:
        for _ in range(5):
            asked = await begin(control_plane)
            answers = await asyncio.gather(*(asked.decide(("approve", "reject")[n % 2], by=f"u{n}") for n in range(4)))
            assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
            (winner,) = [answer.json() for answer in answers if answer.status_code == 200]
            shown = await asked.show()
            assert (shown["decision"], shown["by"]) == (winner["decision"], winner["by"])

    async def test_somebody_else(self, control_plane: ControlPlane) -> None:
        asked = await begin(control_plane, assignees=["ann", "bob"])
        for fields in ({"by": "cyd"}, {}):
            response = await asked.decide(**fields)
            assert (response.status_code, response.json()["code"]) == (403, "not_assignee")
        assert (await asked.show())["status"] == "pending"
        assert (await asked.decide(by="bob")).status_code == 200

    @pytest.mark.parametrize("policy", ["approve", "reject", "fail"])
    async def test_after_the_time_out(self, control_plane: ControlPlane, policy: str) -> None:
        asked = await begin(control_plane, timeout_seconds=60, on_timeout=policy)
        await asked.pass_time(61)
        response = await asked.decide("approve")
        assert (response.status_code, response.json()["code"]) == (409, "already_decided")
        shown = await asked.show()
        assert (shown["decision"], shown["by"], shown["via"]) == (policy, "timeout", "timeout")
        assert shown["decided_at"] == shown["due_at"]

    async def test_after_the_end(self, control_plane: ControlPlane) -> None:
        asked = await begin(control_plane, timeout_seconds=60, on_timeout="approve")
        ending = {"unit": UNIT, "token": asked.token, "status": "cancelled"}
        await control_plane.call(asked.execution_id, "finish", ending)
        response = await asked.decide()
        assert (response.status_code, response.json()["code"]) == (409, "approval_withdrawn")
        await asked.pass_time(61)
        shown = await asked.show()
        assert (shown["status"], shown["decision"]) == ("withdrawn", None), "the time-out decides nothing any more"

    async def test_after_the_step(self, control_plane: ControlPlane) -> None:
        asked = await begin(control_plane)
        failed = StepRecord(id="hello", status="failed", error=StepError(code="timeout", message="m"))
        await control_plane.journal(asked.execution_id, asked.token, failed)
        assert (await asked.decide()).json()["code"] == "approval_withdrawn"

    @pytest.mark.parametrize(
        "body", [{}, {"decision": "maybe"}, {"decision": "fail"}, {"decision": "approve", "by": ""},
                 {"decision": "approve", "by": "x" * 201}, {"decision": "approve", "x": 1},
                 {"decision": "approve", "via": "airflow"}],
    )  # fmt: skip
    async def test_what_is_no_decision(self, control_plane: ControlPlane, body: dict[str, Any]) -> None:
        response = await control_plane.api.post(f"{APPROVALS}/{NOBODYS}/decision", json=body)
        assert (response.status_code, response.json()["code"]) == (422, "invalid_request")


class TestList:
    async def list(self, plane: ControlPlane, **query: Any) -> dict[str, Any]:
        response = await plane.api.get(APPROVALS, params=query)
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    async def ids(self, plane: ControlPlane, **query: Any) -> list[str]:
        return [approval["id"] for approval in (await self.list(plane, **query))["approvals"]]

    async def test_by_status(self, control_plane: ControlPlane) -> None:
        pending, decided, ended = [await begin(control_plane) for _ in range(3)]
        late = await begin(control_plane, timeout_seconds=60)
        await late.pass_time(61)
        await decided.decide()
        ending = {"unit": UNIT, "token": ended.token, "status": "failed"}
        await control_plane.call(ended.execution_id, "finish", ending)
        assert await self.ids(control_plane, status="pending") == [pending.id]
        assert await self.ids(control_plane, status="decided") == [late.id, decided.id]
        assert await self.ids(control_plane, status="withdrawn") == [ended.id]
        assert await self.ids(control_plane) == [late.id, ended.id, decided.id, pending.id]

    async def test_of_a_step(self, control_plane: ControlPlane) -> None:
        one, _ = await begin(control_plane), await begin(control_plane)
        assert await self.ids(control_plane, execution_id=one.execution_id, step_id="hello") == [one.id]
        assert await self.ids(control_plane, execution_id=one.execution_id, step_id="bye") == []

    async def test_pages(self, control_plane: ControlPlane) -> None:
        ids = [(await begin(control_plane)).id for _ in range(3)][::-1]
        first = await self.list(control_plane, limit=2)
        assert ([approval["id"] for approval in first["approvals"]], first["next"]) == (ids[:2], ids[1])
        second = await self.list(control_plane, limit=2, before=first["next"])
        assert ([approval["id"] for approval in second["approvals"]], second["next"]) == (ids[2:], None)

    @pytest.mark.parametrize("query", [{"status": "open"}, {"limit": 0}, {"limit": 201}, {"before": "x"}])
    async def test_wrong_query(self, control_plane: ControlPlane, query: dict[str, Any]) -> None:
        assert (await control_plane.api.get(APPROVALS, params=query)).status_code == 422

    async def test_anonymous(self, control_plane: ControlPlane) -> None:
        assert (await control_plane.public.get(APPROVALS)).status_code == 401


class TestAnotherOrganisation:
    async def test_it_sees_and_decides_nothing(self, control_plane: ControlPlane) -> None:
        asked = await begin(control_plane)
        async with control_plane.database.system() as session:
            other = await OrganizationRepository(session).ensure("other")
        ours = control_plane.organization_id
        control_plane.act_for(other)
        assert (await control_plane.api.get(f"{APPROVALS}/{asked.id}")).status_code == 404
        assert (await asked.decide()).status_code == 404
        assert (await control_plane.api.get(APPROVALS)).json() == {"approvals": [], "next": None}
        control_plane.act_for(ours)
        assert (await asked.show())["status"] == "pending"


class TestExecutionView:
    async def test_it_names_the_approval(self, control_plane: ControlPlane) -> None:
        asked = await begin(control_plane)
        steps = {step["id"]: step for step in (await control_plane.show(asked.execution_id))["steps"]}
        assert (steps["hello"]["approval_id"], steps["bye"]["approval_id"]) == (asked.id, None)
