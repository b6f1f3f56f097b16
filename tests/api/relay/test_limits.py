"""Limits of concurrency, fairness and stopping in the relay, against a stand-in for Airflow's REST API."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from api.organizations.repository import OrganizationRepository
from api.relay.repository import take_entries
from api.settings import Settings
from tests.api.control_plane import ControlPlane, workflow
from tests.api.relay.test_relay import DAG_ID, relaying, until
from tests.stubs.airflow_server import AirflowStub

pytestmark = pytest.mark.platform


@pytest.fixture
def airflow() -> AirflowStub:
    return AirflowStub()


@pytest.fixture
def relay_settings(settings: Settings) -> Settings:
    # The poll is slower than the test may take: what passes here was woken.
    return settings.model_copy(update={"airflow_password": SecretStr("secret"), "relay_poll_seconds": 60.0})


async def rows(plane: ControlPlane, statement: str, **values: Any) -> list[Any]:
    async with plane.database.system() as session:
        result = await session.execute(text(statement), values)
        return [tuple(row) for row in result] if result.returns_rows else []


async def publish(plane: ControlPlane, airflow: AirflowStub, **concurrency: Any) -> str:
    digest = str((await plane.publish(workflow(settings={"concurrency": concurrency})))["digest"])
    airflow.publish(DAG_ID, digest)
    return digest


async def end(plane: ControlPlane, execution_id: str, digest: str) -> None:
    """Run an execution to its end as a worker does."""
    grant = await plane.lease(execution_id, digest)
    body = {"unit": "segment.hello", "token": grant["token"], "status": "success"}
    assert (await plane.call(execution_id, "finish", body)).status_code == 200


class TestConcurrency:
    @pytest.mark.parametrize("relays", [1, 4])
    async def test_never_more_than_the_limit_and_in_order(
        self, control_plane: ControlPlane, relay_settings: Settings, airflow: AirflowStub, relays: int
    ) -> None:
        digest = await publish(control_plane, airflow, limit=2)
        accepted = [await control_plane.execute() for _ in range(9)]
        runs = airflow.runs[DAG_ID]
        async with relaying(control_plane, relay_settings, airflow, count=relays):
            for ended in range(9):
                expected = min(ended + 2, 9)
                await until(lambda expected=expected: len(runs) >= expected)
                # All relays have looked again: what they would start too much would be there.
                await asyncio.gather(
                    *(rows(control_plane, "SELECT pg_notify('agent_factory_outbox', '')") for _ in "ab")
                )
                await asyncio.sleep(0.1)
                assert set(runs) == set(accepted[:expected])
                await end(control_plane, accepted[ended], digest)

    async def test_two_relays_at_the_same_moment_share_the_places(
        self, control_plane: ControlPlane, airflow: AirflowStub
    ) -> None:
        await publish(control_plane, airflow, limit=3)
        accepted = [await control_plane.execute() for _ in range(5)]

        async def second() -> list[str]:
            async with control_plane.database.system() as session:
                return [str(entry.execution_id) for entry in await take_entries(session, 2, 60)]

        async with control_plane.database.system() as session:
            first = [str(entry.execution_id) for entry in await take_entries(session, 2, 60)]
            task = asyncio.create_task(second())
            waiting = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            while not task.done() and not await rows(control_plane, waiting):
                await asyncio.sleep(0.01)
        assert (first, await task, await second()) == (accepted[:2], accepted[2:3], [])

    async def test_an_execution_that_is_being_cancelled_is_left_for_the_next_round(
        self, control_plane: ControlPlane, airflow: AirflowStub
    ) -> None:
        await publish(control_plane, airflow, limit=2)
        first, second = [await control_plane.execute() for _ in range(2)]
        async with control_plane.database.system() as session:
            await session.execute(text("SELECT 1 FROM workflow_executions WHERE id = :id FOR UPDATE"), {"id": first})
            async with control_plane.database.system() as other:
                taken = await take_entries(other, 2, 60)
        assert [str(entry.execution_id) for entry in taken] == [second]
        async with control_plane.database.system() as session:
            assert [str(entry.execution_id) for entry in await take_entries(session, 2, 60)] == [first]

    async def test_each_key_by_itself(
        self, control_plane: ControlPlane, relay_settings: Settings, airflow: AirflowStub
    ) -> None:
        await publish(control_plane, airflow, limit=1, key="{{ input.name }}")
        first, _, other = [await control_plane.execute({"name": name}) for name in ("Ann", "Ann", "Bob")]
        async with relaying(control_plane, relay_settings, airflow, count=2):
            await until(lambda: other in airflow.runs[DAG_ID])
        assert set(airflow.runs[DAG_ID]) == {first, other}

    async def test_one_that_comes_back_keeps_its_place(
        self, control_plane: ControlPlane, relay_settings: Settings, airflow: AirflowStub
    ) -> None:
        await publish(control_plane, airflow, limit=1)
        airflow.failures = [503, 503]
        first, _ = [await control_plane.execute() for _ in range(2)]
        async with relaying(control_plane, relay_settings, airflow):
            await until(lambda: bool(airflow.runs[DAG_ID]))
        assert set(airflow.runs[DAG_ID]) == {first}

    async def test_one_that_runs_without_a_relay_takes_a_place(
        self, control_plane: ControlPlane, relay_settings: Settings, airflow: AirflowStub
    ) -> None:
        digest = await publish(control_plane, airflow, limit=1)
        first = await control_plane.execute()
        await rows(control_plane, "DELETE FROM outbox")
        await control_plane.lease(first, digest)
        second = await control_plane.execute()
        async with relaying(control_plane, relay_settings, airflow):
            await asyncio.sleep(0.3)
            assert not airflow.runs[DAG_ID]
            await end(control_plane, first, digest)
            await until(lambda: second in airflow.runs[DAG_ID])

    async def test_one_that_fails_to_start_frees_its_place(
        self, control_plane: ControlPlane, relay_settings: Settings, airflow: AirflowStub
    ) -> None:
        await publish(control_plane, airflow, limit=1)
        airflow.failures = [403]
        settings = relay_settings.model_copy(update={"relay_max_refusals": 1})
        _, second = [await control_plane.execute() for _ in range(2)]
        async with relaying(control_plane, settings, airflow):
            await until(lambda: second in airflow.runs[DAG_ID])


class TestFairness:
    async def test_a_burst_of_one_organisation_leaves_room_for_the_others(self, control_plane: ControlPlane) -> None:
        await control_plane.publish()
        for _ in range(20):
            await control_plane.execute()
        others = [await self.copy_of_first(control_plane, slug) for slug in ("other-a", "other-b")]
        served: list[UUID] = []
        for _ in range(4):
            async with control_plane.database.system() as session:
                taken = await take_entries(session, 1, 60, served[-1] if served else None)
            served += [entry.organization_id for entry in taken]
        mine = control_plane.app.state.organization_id
        assert set(served[:3]) == {mine, *others}
        assert served[3] == mine
        async with control_plane.database.system() as session:
            rest = await take_entries(session, 50, 60, served[-1])
        assert {entry.organization_id for entry in rest} == {mine}
        assert [entry.id for entry in rest] == sorted(entry.id for entry in rest)

    @staticmethod
    async def copy_of_first(plane: ControlPlane, slug: str) -> UUID:
        """Give another organisation one accepted execution."""
        async with plane.database.system() as session:
            organization_id = await OrganizationRepository(session).ensure(slug)
            for table, columns in (
                ("agents", "id, workflow_id, name"),
                ("workflow_versions", "id, agent_id, number, label, source, plan_digest, dag_digest, dag_id"),
                ("workflow_executions", "id, agent_id, version_id, trigger, input"),
                ("outbox", "execution_id, agent_id, dag_id"),
            ):
                statement = (
                    f"INSERT INTO {table} (organization_id, {columns}) SELECT :new, {columns} FROM {table}"
                    " WHERE organization_id = :old ORDER BY created_at LIMIT 1"
                ).replace("ORDER BY created_at" if table == "workflow_executions" else "\0", "ORDER BY id")
                if table == "outbox":
                    statement = (
                        f"INSERT INTO outbox (organization_id, {columns}) SELECT organization_id, e.id, e.agent_id, 'x'"
                        " FROM workflow_executions e WHERE organization_id = :new"
                    )
                values = {"new": organization_id, "old": plane.app.state.organization_id}
                await session.execute(text(statement), {key: values[key] for key in values if f":{key}" in statement})
        return organization_id


class TestStop:
    async def test_airflows_run_is_made_to_fail(
        self, control_plane: ControlPlane, relay_settings: Settings, airflow: AirflowStub
    ) -> None:
        airflow.publish(DAG_ID, (await control_plane.publish())["digest"])
        airflow.patch_failures = [503]
        async with relaying(control_plane, relay_settings, airflow):
            execution_id = await control_plane.execute()
            await until(lambda: execution_id in airflow.runs[DAG_ID])
            await control_plane.api.post(f"/api/v1/executions/{execution_id}/cancel")
            await until(lambda: airflow.states.get(execution_id) == "failed")
            await until(self.nothing_left(control_plane))

    async def test_a_run_that_is_over_stays_as_it_is(
        self, control_plane: ControlPlane, relay_settings: Settings, airflow: AirflowStub
    ) -> None:
        airflow.publish(DAG_ID, (await control_plane.publish())["digest"])
        async with relaying(control_plane, relay_settings, airflow):
            execution_id = await control_plane.execute()
            await until(self.nothing_left(control_plane))
            airflow.states[execution_id] = "success"
            await control_plane.api.post(f"/api/v1/executions/{execution_id}/cancel")
            await until(self.nothing_left(control_plane))
        assert airflow.states[execution_id] == "success"

    async def test_one_that_came_to_its_own_end_is_left_alone(
        self, control_plane: ControlPlane, relay_settings: Settings, airflow: AirflowStub
    ) -> None:
        digest = (await control_plane.publish())["digest"]
        airflow.publish(DAG_ID, digest)
        async with relaying(control_plane, relay_settings, airflow):
            execution_id = await control_plane.execute()
            await until(self.nothing_left(control_plane))
            grant = await control_plane.lease(execution_id, digest)
            await control_plane.api.post(f"/api/v1/executions/{execution_id}/cancel")
            body = {"unit": "segment.hello", "token": grant["token"], "status": "success"}
            await control_plane.call(execution_id, "finish", body)
            await rows(control_plane, "UPDATE outbox SET available_at = now()")
            await rows(control_plane, "SELECT pg_notify('agent_factory_outbox', '')")
            await until(self.nothing_left(control_plane))
        assert execution_id not in airflow.states

    async def test_runners_that_never_come_back(
        self, control_plane: ControlPlane, relay_settings: Settings, airflow: AirflowStub
    ) -> None:
        digest = (await control_plane.publish())["digest"]
        airflow.publish(DAG_ID, digest)
        async with relaying(control_plane, relay_settings, airflow):
            execution_id = await control_plane.execute()
            await until(self.nothing_left(control_plane))
            await control_plane.lease(execution_id, digest)
            answer = await control_plane.api.post(f"/api/v1/executions/{execution_id}/cancel")
            assert answer.json()["status"] == "running"
            await rows(control_plane, "UPDATE leases SET expires_at = now() - interval '1 s'")
            await rows(control_plane, "UPDATE outbox SET available_at = now()")
            await rows(control_plane, "SELECT pg_notify('agent_factory_outbox', '')")
            shown = (await control_plane.api.get(f"/api/v1/executions/{execution_id}?wait=20s")).json()
            assert shown["status"] == "cancelled"
            await until(lambda: airflow.states.get(execution_id) == "failed")

    @staticmethod
    def nothing_left(plane: ControlPlane) -> Any:
        async def check() -> bool:
            return await rows(plane, "SELECT 1 FROM outbox") == []

        return check
