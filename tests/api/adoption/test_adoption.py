"""Runs that were started in Airflow: the first lease makes their execution."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text

from api.organizations.repository import OrganizationRepository
from operators.execution.records import StepRecord
from tests.api.control_plane import UNIT, WORKFLOW_ID, ControlPlane, lease_request, workflow

pytestmark = pytest.mark.platform

RUN = "manual__2026-11-24T09:30:00.123456+00:00_aZ~1"
AT = "2026-11-24T09:30:00Z"
FREE = {"type": "object", "properties": {"name": {"type": "string"}}}
MANUAL = {"type": "manual", "method": None, "path": None, "headers": {}, "query": {}}


def schedule(cron: str, **config: Any) -> dict[str, Any]:
    return {"type": "schedule", "config": {"cron": cron, **config}}


def free_workflow(**changes: Any) -> dict[str, Any]:
    """A workflow that needs nothing of its input."""
    return workflow(input=FREE, **changes)


def request(digest: str, run: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    return lease_request(digest, run={"scheduled": False, "due_at": AT} | (run or {}), **changes)


async def lease(plane: ControlPlane, body: dict[str, Any], run_id: str = RUN) -> httpx.Response:
    return await plane.call(quote(run_id, safe=""), "lease", body)


async def granted(plane: ControlPlane, body: dict[str, Any], run_id: str = RUN) -> dict[str, Any]:
    response = await lease(plane, body, run_id)
    assert response.status_code == 200, response.text
    grant: dict[str, Any] = response.json()
    return grant


async def refused(plane: ControlPlane, body: dict[str, Any], run_id: str = RUN) -> dict[str, Any]:
    """Ask for a lease that an execution with a wrong input cannot have; return the execution."""
    response = await lease(plane, body, run_id)
    assert (response.status_code, response.json()["code"]) == (410, "execution_ended")
    assert response.json()["execution_status"] == "failed"
    return await plane.show(await execution_of(plane, run_id))


async def execution_of(plane: ControlPlane, run_id: str = RUN, workflow_id: str = WORKFLOW_ID) -> str:
    response = await plane.api.get(f"/api/v1/workflows/{workflow_id}/runs/{quote(run_id, safe='')}")
    assert response.status_code == 200, response.text
    return str(response.json()["execution_id"])


async def prepare(plane: ControlPlane, value: Any, workflow_id: str = WORKFLOW_ID) -> str:
    response = await plane.api.post(f"/api/v1/workflows/{workflow_id}/inputs", json={"input": value})
    assert response.status_code == 201, response.text
    return str(response.json()["input_id"])


async def executions(plane: ControlPlane) -> int:
    async with plane.database.system() as session:
        count = await session.scalar(text("SELECT count(*) FROM workflow_executions"))
        assert isinstance(count, int)
        return count


class TestAdoption:
    async def test_manual_run(self, control_plane: ControlPlane) -> None:
        published = await control_plane.publish(free_workflow())
        grant = await granted(control_plane, request(published["digest"]))
        assert (grant["input"], grant["trigger"]) == ({}, MANUAL)
        execution = await control_plane.show(grant["execution"]["id"])
        assert (execution["status"], execution["version"], execution["input"]) == ("running", 1, {})
        assert execution["airflow_url"].endswith(f"/dags/default__greet/runs/{quote(RUN, safe='')}")
        assert await execution_of(control_plane) == grant["execution"]["id"]

    async def test_goes_on_under_its_own_id(self, control_plane: ControlPlane) -> None:
        digest = (await control_plane.publish(free_workflow()))["digest"]
        grant = await granted(control_plane, request(digest))
        own = grant["execution"]["id"]
        await control_plane.journal(own, grant["token"], StepRecord(id="hello", status="success", output=1))
        ending = {"unit": UNIT, "token": grant["token"], "status": "success", "output": 1}
        assert (await control_plane.call(own, "finish", ending)).status_code == 200
        # Airflow asks again by the run's id, and hears of the end.
        response = await lease(control_plane, request(digest))
        assert (response.status_code, response.json()["execution_status"]) == (410, "success")

    async def test_another_unit_and_an_airflow_retry_find_it(self, control_plane: ControlPlane) -> None:
        digest = (await control_plane.publish(free_workflow()))["digest"]
        first = await granted(control_plane, request(digest))
        second = await granted(control_plane, request(digest, unit="other", owner="second"))
        again = await granted(control_plane, request(digest))
        assert first["execution"]["id"] == second["execution"]["id"] == again["execution"]["id"]
        assert again["token"] == first["token"] + 1

    async def test_many_first_leases_make_one_execution(self, control_plane: ControlPlane) -> None:
        digest = (await control_plane.publish(free_workflow()))["digest"]
        bodies = [request(digest, unit=f"unit{number}", owner=f"owner{number}") for number in range(20)]
        grants = await asyncio.gather(*(granted(control_plane, body) for body in bodies))
        assert len({grant["execution"]["id"] for grant in grants}) == 1
        assert await executions(control_plane) == 1

    async def test_same_run_id_in_two_workflows(self, control_plane: ControlPlane) -> None:
        triggers = [{"type": "manual", "config": {}}]
        ids = set()
        for workflow_id in ("first", "second"):
            document = free_workflow(id=workflow_id, triggers=triggers)
            del document["trigger"]
            digest = (await control_plane.publish(document))["digest"]
            grant = await granted(control_plane, request(digest, workflow_id=workflow_id))
            ids.add(grant["execution"]["id"])
            assert await execution_of(control_plane, RUN, workflow_id) == grant["execution"]["id"]
        assert len(ids) == 2

    async def test_a_run_id_that_looks_like_an_execution(self, control_plane: ControlPlane) -> None:
        digest = (await control_plane.publish(free_workflow()))["digest"]
        run_id = str(uuid4())
        grant = await granted(control_plane, request(digest), run_id)
        assert grant["execution"]["id"] != run_id

    async def test_the_run_of_an_execution_is_not_adopted(self, control_plane: ControlPlane) -> None:
        digest = (await control_plane.publish())["digest"]
        execution_id = await control_plane.execute()
        grant = await granted(control_plane, request(digest), execution_id)
        assert (grant["execution"]["id"], grant["input"]) == (execution_id, {"name": "Ann"})
        response = await control_plane.api.get(f"/api/v1/workflows/{WORKFLOW_ID}/runs/{execution_id}")
        assert response.status_code == 404

    async def test_runs_the_plan_its_runner_holds(self, control_plane: ControlPlane) -> None:
        older = await control_plane.publish(free_workflow())
        await control_plane.publish(free_workflow(name="Newer"))
        grant = await granted(control_plane, request(older["digest"]))
        assert grant["execution"]["version"] == 1


class TestRefusedWithoutTrace:
    async def check(self, plane: ControlPlane, body: dict[str, Any], status: int, run_id: str = RUN) -> None:
        assert (await lease(plane, body, run_id)).status_code == status
        assert await executions(plane) == 0

    async def test_unknown_organisation(self, control_plane: ControlPlane) -> None:
        digest = (await control_plane.publish(free_workflow()))["digest"]
        await self.check(control_plane, request(digest, organization="nobody"), 404)

    async def test_organisation_without_the_workflow(self, control_plane: ControlPlane) -> None:
        digest = (await control_plane.publish(free_workflow()))["digest"]
        async with control_plane.database.system() as session:
            await OrganizationRepository(session).ensure("other")
        await self.check(control_plane, request(digest, organization="other"), 404)

    async def test_unknown_workflow(self, control_plane: ControlPlane) -> None:
        digest = (await control_plane.publish(free_workflow()))["digest"]
        await self.check(control_plane, request(digest, workflow_id="nothing"), 404)

    async def test_plan_that_was_never_published(self, control_plane: ControlPlane) -> None:
        await control_plane.publish(free_workflow())
        await self.check(control_plane, request("0" * 64), 409)

    async def test_without_a_run(self, control_plane: ControlPlane) -> None:
        digest = (await control_plane.publish(free_workflow()))["digest"]
        await self.check(control_plane, lease_request(digest), 404)

    @pytest.mark.parametrize("run_id", ["x" * 251, "a\0b", "a\nb"])
    async def test_no_run_id(self, control_plane: ControlPlane, run_id: str) -> None:
        digest = (await control_plane.publish(free_workflow()))["digest"]
        await self.check(control_plane, request(digest), 404, run_id)

    async def test_run_id_of_another_organisations_execution(self, control_plane: ControlPlane) -> None:
        digest = (await control_plane.publish(free_workflow()))["digest"]
        async with control_plane.database.system() as session:
            await OrganizationRepository(session).ensure("other")
        execution_id = await control_plane.execute()
        response = await lease(control_plane, request(digest, organization="other"), execution_id)
        assert response.status_code == 404
        assert await executions(control_plane) == 1

    async def test_anonymous(self, control_plane: ControlPlane) -> None:
        digest = (await control_plane.publish(free_workflow()))["digest"]
        for client in (control_plane.public, control_plane.api):
            response = await client.post(f"/runtime/v1/executions/{quote(RUN, safe='')}/lease", json=request(digest))
            assert response.status_code == 401
        assert await executions(control_plane) == 0


class TestSchedules:
    async def test_fixed_input(self, control_plane: ControlPlane) -> None:
        document = workflow(trigger=schedule("30 9 * * *", input={"name": "Bo"}))
        digest = (await control_plane.publish(document))["digest"]
        grant = await granted(control_plane, request(digest, {"scheduled": True}))
        assert grant["input"] == {"name": "Bo"}
        assert grant["trigger"] == MANUAL | {"type": "schedule", "scheduled_at": "2026-11-24T09:30:00+00:00"}

    @pytest.mark.parametrize(
        ("due_at", "name"),
        [
            ("2026-11-24T08:00:00Z", "Berlin"),
            ("2026-11-24T09:00:00Z", "UTC"),
            ("2026-11-24T14:00:00Z", "New York"),
            ("2026-07-01T07:00:00Z", "Berlin"),
            ("2026-07-01T13:00:00Z", "New York"),
            # Both are due: the first stands.
            ("2026-11-29T00:00:00Z", "Sunday"),
            # Nothing is due to the minute: the last that was.
            ("2026-11-24T12:00:00Z", "UTC"),
        ],
    )
    async def test_the_schedule_that_is_due(self, control_plane: ControlPlane, due_at: str, name: str) -> None:
        triggers = [
            {"type": "manual", "config": {}},
            schedule("0 9 * * *", timezone="Europe/Berlin", input={"name": "Berlin"}),
            schedule("0 9 * * *", timezone="America/New_York", input={"name": "New York"}),
            schedule("0 9 * * *", input={"name": "UTC"}),
            schedule("0 0 * * sun", input={"name": "Sunday"}),
            schedule("0 0 29 * *", input={"name": "Month"}),
            {"type": "webhook", "config": {"path": "greet"}},
        ]
        document = workflow(triggers=triggers)
        del document["trigger"]
        digest = (await control_plane.publish(document))["digest"]
        grant = await granted(control_plane, request(digest, {"scheduled": True, "due_at": due_at}))
        assert grant["input"] == {"name": name}

    @pytest.mark.parametrize("paused", ["/api/v1/relay", f"/api/v1/workflows/{WORKFLOW_ID}"])
    async def test_a_pause(self, control_plane: ControlPlane, paused: str) -> None:
        """The clock starts nothing of what is paused; who starts a run by hand means it."""
        document = free_workflow(trigger=schedule("30 9 * * *"))
        digest = (await control_plane.publish(document))["digest"]
        assert (await control_plane.api.post(f"{paused}/pause")).is_success
        response = await lease(control_plane, request(digest, {"scheduled": True}))
        assert (response.status_code, response.json()["code"]) == (409, "paused")
        assert await executions(control_plane) == 0
        await granted(control_plane, request(digest), "manual__1")
        assert (await control_plane.api.post(f"{paused}/resume")).is_success
        await granted(control_plane, request(digest, {"scheduled": True}), "scheduled__2")
        assert await executions(control_plane) == 2

    async def test_a_pause_of_another_workflow(self, control_plane: ControlPlane) -> None:
        digest = (await control_plane.publish(free_workflow(trigger=schedule("30 9 * * *"))))["digest"]
        await control_plane.publish(free_workflow(id="other"))
        assert (await control_plane.api.post("/api/v1/workflows/other/pause")).is_success
        await granted(control_plane, request(digest, {"scheduled": True}))

    async def test_a_pause_that_ends_in_the_middle_of_a_run(self, control_plane: ControlPlane) -> None:
        """Its first unit was skipped: the ones after it begin nothing either."""
        tasks = [
            {"id": "first", "type": "wait", "config": {"seconds": 1}, "next": ["then"]},
            {"id": "then", "type": "transform", "config": {"set": {"a": 1}}},
        ]
        digest = (await control_plane.publish(free_workflow(trigger=schedule("30 9 * * *"), tasks=tasks)))["digest"]
        run = {"scheduled": True}
        response = await lease(control_plane, request(digest, run, unit="then"))
        assert (response.status_code, response.json()["code"]) == (409, "not_begun")
        assert await executions(control_plane) == 0
        await granted(control_plane, request(digest, run, unit="first"))
        await granted(control_plane, request(digest, run, unit="then"))

    async def test_prepared_input_goes_before_the_schedules(self, control_plane: ControlPlane) -> None:
        document = workflow(trigger=schedule("0 9 * * *", input={"name": "Bo"}))
        digest = (await control_plane.publish(document))["digest"]
        input_id = await prepare(control_plane, {"name": "Cy"})
        grant = await granted(control_plane, request(digest, {"scheduled": True, "input_id": input_id}))
        assert (grant["input"], grant["trigger"]["type"]) == ({"name": "Cy"}, "schedule")

    async def test_run_by_hand_has_no_fixed_input(self, control_plane: ControlPlane) -> None:
        document = free_workflow(trigger=schedule("0 9 * * *", input={"name": "Bo"}))
        digest = (await control_plane.publish(document))["digest"]
        grant = await granted(control_plane, request(digest))
        assert (grant["input"], grant["trigger"]) == ({}, MANUAL)


class TestInputs:
    async def test_prepared(self, control_plane: ControlPlane) -> None:
        digest = (await control_plane.publish())["digest"]
        input_id = await prepare(control_plane, {"name": "Cy"})
        for run_id in ("one", "two"):
            grant = await granted(control_plane, request(digest, {"input_id": input_id}), run_id)
            assert (grant["input"], grant["trigger"]) == ({"name": "Cy"}, MANUAL)

    async def test_prepared_null(self, control_plane: ControlPlane) -> None:
        document = workflow()
        del document["input"]
        digest = (await control_plane.publish(document))["digest"]
        input_id = await prepare(control_plane, None)
        assert (await granted(control_plane, request(digest, {"input_id": input_id})))["input"] is None

    async def test_empty_input_that_breaks_the_schema(self, control_plane: ControlPlane) -> None:
        digest = (await control_plane.publish())["digest"]
        execution = await refused(control_plane, request(digest))
        assert execution["status"] == "failed"
        assert execution["error"]["code"] == "invalid_input"
        assert "'name' is a required property" in execution["error"]["message"]
        assert [step["status"] for step in execution["steps"]] == ["cancelled", "cancelled"]
        assert execution["completed_at"] is not None
        # Every other unit, and every retry, is told the same.
        await refused(control_plane, request(digest, unit="other", owner="second"))
        assert await executions(control_plane) == 1

    async def test_prepared_for_an_older_schema(self, control_plane: ControlPlane) -> None:
        await control_plane.publish(free_workflow())
        input_id = await prepare(control_plane, {"name": "Cy", "age": 7})
        closed = FREE | {"additionalProperties": False}
        digest = (await control_plane.publish(workflow(input=closed)))["digest"]
        execution = await refused(control_plane, request(digest, {"input_id": input_id}))
        assert execution["error"]["code"] == "invalid_input"
        assert execution["input"] == {"name": "Cy", "age": 7}

    @pytest.mark.parametrize("input_id", ["01990000-0000-7000-8000-0000000000ff", "", "no id", "x" * 100, "{{ 1 }}"])
    async def test_unknown_id(self, control_plane: ControlPlane, input_id: str) -> None:
        digest = (await control_plane.publish(free_workflow()))["digest"]
        execution = await refused(control_plane, request(digest, {"input_id": input_id}))
        assert execution["error"]["code"] == "invalid_input"
        assert "input_id" in execution["error"]["message"]

    async def test_id_of_another_workflow(self, control_plane: ControlPlane) -> None:
        other = free_workflow(id="other", trigger={"type": "manual", "config": {}})
        await control_plane.publish(other)
        digest = (await control_plane.publish(free_workflow()))["digest"]
        input_id = await prepare(control_plane, {"name": "Cy"}, "other")
        execution = await refused(control_plane, request(digest, {"input_id": input_id}))
        assert execution["error"]["code"] == "invalid_input"

    async def test_id_of_another_organisation(self, control_plane: ControlPlane) -> None:
        digest = (await control_plane.publish(free_workflow()))["digest"]
        input_id = await prepare(control_plane, {"name": "Cy"})
        async with control_plane.database.system() as session:
            other = await OrganizationRepository(session).ensure("other")
            for statement in (
                "INSERT INTO agents (organization_id, id, workflow_id, name)"
                " SELECT :other, id, workflow_id, name FROM agents",
                "UPDATE prepared_inputs SET organization_id = :other",
            ):
                await session.execute(text(statement), {"other": other})
        execution = await refused(control_plane, request(digest, {"input_id": input_id}))
        assert execution["error"]["code"] == "invalid_input"
        assert execution["input"] == {}


class TestClear:
    async def test_failed_steps_run_again(self, control_plane: ControlPlane) -> None:
        digest = (await control_plane.publish(free_workflow()))["digest"]
        first = await granted(control_plane, request(digest))
        own, token = first["execution"]["id"], first["token"]
        records = [StepRecord(id="hello", status="success", output=1), StepRecord(id="bye", status="failed")]
        await control_plane.journal(own, token, *records, halt=True)
        await control_plane.call(own, "finish", {"unit": UNIT, "token": token, "status": "failed"})
        assert (await lease(control_plane, request(digest))).status_code == 410
        again = await granted(control_plane, request(digest, clear_number=1))
        assert (again["execution"]["id"], set(again["steps"])) == (own, {"hello"})

    async def test_cleared_before_the_first_lease(self, control_plane: ControlPlane) -> None:
        digest = (await control_plane.publish(free_workflow()))["digest"]
        first = await granted(control_plane, request(digest, clear_number=2))
        again = await granted(control_plane, request(digest, unit="other", clear_number=2))
        assert first["execution"]["id"] == again["execution"]["id"]
        # The second unit's lease reopens nothing: the first one's token is still good.
        await control_plane.journal(first["execution"]["id"], first["token"], StepRecord(id="hello", status="success"))

    async def test_refused_input_stays_refused(self, control_plane: ControlPlane) -> None:
        digest = (await control_plane.publish())["digest"]
        before = await refused(control_plane, request(digest))
        assert await refused(control_plane, request(digest, clear_number=1)) == before

    async def test_refused_input_that_fits_the_newer_version(self, control_plane: ControlPlane) -> None:
        older = (await control_plane.publish())["digest"]
        execution = await refused(control_plane, request(older))
        newer = (await control_plane.publish(free_workflow()))["digest"]
        grant = await granted(control_plane, request(newer, clear_number=1))
        assert grant["execution"]["id"] == execution["execution_id"]
        assert (grant["execution"]["version"], grant["steps"], grant["input"]) == (2, {}, {})
        shown = await control_plane.show(execution["execution_id"])
        assert (shown["status"], shown["error"], shown["completed_at"]) == ("running", None, None)


class TestGetRun:
    async def test_anonymous(self, control_plane: ControlPlane) -> None:
        assert (await control_plane.public.get(f"/api/v1/workflows/{WORKFLOW_ID}/runs/x")).status_code == 401

    async def test_unknown(self, control_plane: ControlPlane) -> None:
        assert (await control_plane.api.get(f"/api/v1/workflows/{WORKFLOW_ID}/runs/x")).status_code == 404
        await control_plane.publish()
        assert (await control_plane.api.get(f"/api/v1/workflows/{WORKFLOW_ID}/runs/x")).status_code == 404

    async def test_other_organisation(self, control_plane: ControlPlane) -> None:
        digest = (await control_plane.publish(free_workflow()))["digest"]
        own = UUID((await granted(control_plane, request(digest)))["execution"]["id"])
        async with control_plane.database.system() as session:
            other = await OrganizationRepository(session).ensure("other")
        control_plane.act_for(other)
        assert (await control_plane.api.get(f"/api/v1/executions/{own}")).status_code == 404
        path = f"/api/v1/workflows/{WORKFLOW_ID}/runs/{quote(RUN, safe='')}"
        assert (await control_plane.api.get(path)).status_code == 404
