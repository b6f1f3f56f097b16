"""/runtime/v1/executions/{id}: what the store's contract does not say."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from operators.execution.records import StepRecord
from tests.api.control_plane import UNIT, ControlPlane, lease_request, workflow

pytestmark = pytest.mark.platform


class TestLease:
    async def test_anonymous_and_api_token(self, control_plane: ControlPlane) -> None:
        for client in (control_plane.public, control_plane.api):
            response = await client.post(f"/runtime/v1/executions/{uuid4()}/lease", json=lease_request("0"))
            assert response.status_code == 401

    async def test_held(self, control_plane: ControlPlane) -> None:
        digest = (await control_plane.publish())["digest"]
        execution_id = await control_plane.execute()
        await control_plane.lease(execution_id, digest)
        response = await control_plane.call(execution_id, "lease", lease_request(digest, owner="second"))
        assert (response.status_code, response.json()["code"]) == (409, "lease_held")
        assert 0 < response.json()["retry_after"] <= 10

    @pytest.mark.parametrize(("ahead", "held"), [(timedelta(seconds=30), True), (timedelta(hours=1), False)])
    async def test_the_databases_clock_was_set_back(
        self, control_plane: ControlPlane, ahead: timedelta, held: bool
    ) -> None:
        digest = (await control_plane.publish())["digest"]
        execution_id = await control_plane.execute()
        await control_plane.lease(execution_id, digest)
        async with control_plane.database.system() as session:
            await session.execute(
                text("UPDATE leases SET expires_at = now() + CAST(:ahead AS interval), running = '{hello}'"),
                {"ahead": ahead},
            )
        running = [step["status"] for step in (await control_plane.show(execution_id))["steps"]]
        assert ("running" in running) is held
        answer = await control_plane.call(execution_id, "lease", lease_request(digest, owner="second"))
        assert answer.status_code == (409 if held else 200)
        assert answer.json().get("retry_after", 0) <= 30

    async def test_tells_the_databases_time(self, control_plane: ControlPlane) -> None:
        digest = (await control_plane.publish())["digest"]
        execution_id = await control_plane.execute()
        async with control_plane.database.system() as session:
            before = await session.scalar(text("SELECT clock_timestamp()"))
        granted = datetime.fromisoformat((await control_plane.lease(execution_id, digest))["now"])
        path = f"/runtime/v1/executions/{execution_id}/watch?wait=0s"
        watched = datetime.fromisoformat((await control_plane.runtime.get(path)).json()["now"])
        assert before is not None
        assert before < granted < watched

    async def test_one_of_many_gets_it(self, control_plane: ControlPlane) -> None:
        digest = (await control_plane.publish())["digest"]
        execution_id = await control_plane.execute()
        requests = [lease_request(digest, owner=f"owner-{number}") for number in range(8)]
        answers = await asyncio.gather(*(control_plane.call(execution_id, "lease", body) for body in requests))
        assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7

    async def test_ended(self, control_plane: ControlPlane) -> None:
        digest = (await control_plane.publish())["digest"]
        execution_id = await control_plane.execute()
        token = (await control_plane.lease(execution_id, digest))["token"]
        await control_plane.call(execution_id, "finish", {"unit": UNIT, "token": token, "status": "success"})
        problem = (await control_plane.call(execution_id, "lease", lease_request(digest))).json()
        assert (problem["status"], problem["code"], problem["execution_status"]) == (410, "execution_ended", "success")

    async def test_other_organisation(self, control_plane: ControlPlane) -> None:
        digest = (await control_plane.publish())["digest"]
        execution_id = await control_plane.execute()
        body = lease_request(digest, organization="other")
        assert (await control_plane.call(execution_id, "lease", body)).status_code == 404

    async def test_runs_the_plan_its_runner_holds(self, control_plane: ControlPlane) -> None:
        """A run in flight finishes on its own version: the older graph's worker shows the older digest."""
        older = await control_plane.publish()
        await control_plane.publish(workflow(name="Newer"))
        execution_id = await control_plane.execute()
        assert (await control_plane.lease(execution_id, older["digest"]))["execution"]["version"] == 1

    async def test_another_plan_after_a_result(self, control_plane: ControlPlane) -> None:
        older = await control_plane.publish()
        newer = await control_plane.publish(workflow(name="Newer"))
        execution_id = await control_plane.execute()
        token = (await control_plane.lease(execution_id, older["digest"]))["token"]
        await control_plane.journal(execution_id, token, StepRecord(id="hello", status="success"))
        response = await control_plane.call(execution_id, "lease", lease_request(newer["digest"]))
        assert (response.status_code, response.json()["code"]) == (409, "plan_mismatch")

    async def test_plan_that_was_never_published(self, control_plane: ControlPlane) -> None:
        await control_plane.publish()
        execution_id = await control_plane.execute()
        response = await control_plane.call(execution_id, "lease", lease_request("0" * 64))
        assert (response.status_code, response.json()["code"]) == (409, "plan_mismatch")

    async def test_variables_are_a_snapshot(self, control_plane: ControlPlane) -> None:
        digest = (await control_plane.publish(workflow(vars=["region", "unset"])))["digest"]
        await self.set_variables(control_plane, region='"eu"', secret='"not asked for"')
        execution_id = await control_plane.execute()
        assert (await control_plane.lease(execution_id, digest))["vars"] == {"region": "eu"}
        await self.set_variables(control_plane, region='"us"')
        assert (await control_plane.lease(execution_id, digest))["vars"] == {"region": "eu"}

    async def set_variables(self, plane: ControlPlane, **values: str) -> None:
        statement = text(
            "INSERT INTO variables (organization_id, name, value) SELECT id, :name, CAST(:value AS json)"
            " FROM organizations ON CONFLICT (organization_id, environment, name) DO UPDATE SET value = excluded.value"
        )
        async with plane.database.system() as session:
            for name, value in values.items():
                await session.execute(statement, {"name": name, "value": value})


class TestSettle:
    async def test_exactly_one_of_two_units_sees_nobody_else(self, control_plane: ControlPlane) -> None:
        digest = (await control_plane.publish())["digest"]
        execution_id = await control_plane.execute()
        tokens = {
            unit: (await control_plane.lease(execution_id, digest, unit=unit, owner=unit))["token"] for unit in "ab"
        }
        answers = await asyncio.gather(
            *(control_plane.call(execution_id, "settle", {"unit": unit, "token": tokens[unit]}) for unit in "ab")
        )
        assert sorted(len(answer.json()["active_units"]) for answer in answers) == [0, 1]

    async def test_a_late_heartbeat_does_not_bring_the_unit_back(self, control_plane: ControlPlane) -> None:
        digest = (await control_plane.publish())["digest"]
        execution_id = await control_plane.execute()
        first = {"unit": "a", "token": (await control_plane.lease(execution_id, digest, unit="a"))["token"]}
        second = {"unit": "b", "token": (await control_plane.lease(execution_id, digest, unit="b"))["token"]}
        await control_plane.call(execution_id, "settle", first)
        await control_plane.call(execution_id, "heartbeat", first)
        assert (await control_plane.call(execution_id, "settle", second)).json()["active_units"] == []


class TestFinish:
    async def test_leaves_what_is_journaled(self, control_plane: ControlPlane) -> None:
        digest = (await control_plane.publish())["digest"]
        execution_id = await control_plane.execute()
        token = (await control_plane.lease(execution_id, digest))["token"]
        await control_plane.journal(execution_id, token, StepRecord(id="hello", status="success", output=1))
        left = [StepRecord(id=step_id, status="cancelled").model_dump(mode="json") for step_id in ("hello", "bye")]
        ending = {"unit": UNIT, "token": token, "status": "failed", "steps": left}
        await control_plane.call(execution_id, "finish", ending)
        steps = (await control_plane.show(execution_id))["steps"]
        assert [step["status"] for step in steps] == ["success", "cancelled"]


class TestModelCredential:
    async def ask(self, plane: ControlPlane, provider: str) -> Any:
        await plane.publish()
        execution_id = await plane.execute()
        return await plane.runtime.get(f"/runtime/v1/executions/{execution_id}/credentials/models/{provider}")

    @pytest.mark.parametrize("provider", ["openai", "anthropic"])
    async def test_key_of_the_api_process(self, control_plane: ControlPlane, provider: str) -> None:
        values = {f"{provider}_api_key": SecretStr("key"), f"{provider}_base_url": "http://models.test"}
        control_plane.app.state.settings = control_plane.app.state.settings.model_copy(update=values)
        answer = (await self.ask(control_plane, provider)).json()
        assert answer == {"provider": provider, "api_key": "key", "base_url": "http://models.test"}

    async def test_unknown_provider(self, control_plane: ControlPlane) -> None:
        assert (await self.ask(control_plane, "nobody")).status_code == 404

    async def test_unknown_execution(self, control_plane: ControlPlane) -> None:
        response = await control_plane.runtime.get(f"/runtime/v1/executions/{uuid4()}/credentials/models/openai")
        assert response.status_code == 404
