"""The relay, against a stand-in for Airflow's REST API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from api.relay.airflow import SENTINEL_DAG, AirflowClient
from api.relay.relay import Relay
from api.settings import Settings
from tests.api.control_plane import ControlPlane, workflow
from tests.stubs.airflow_server import AirflowStub

pytestmark = pytest.mark.platform

DAG_ID = "default__greet"


@pytest.fixture
def airflow() -> AirflowStub:
    return AirflowStub()


@pytest.fixture
def relay_settings(settings: Settings) -> Settings:
    # The poll is slower than the test may take: what passes here was woken.
    return settings.model_copy(update={"airflow_password": _secret("secret"), "relay_poll_seconds": 60.0})


def _secret(value: str) -> Any:
    from pydantic import SecretStr

    return SecretStr(value)


def client(settings: Settings, airflow: AirflowStub) -> AirflowClient:
    return AirflowClient(settings, transport=httpx.ASGITransport(airflow.app()))


@asynccontextmanager
async def relaying(
    plane: ControlPlane, settings: Settings, airflow: AirflowStub, count: int = 1
) -> AsyncIterator[None]:
    """Run relays for as long as the block lasts."""
    clients = [client(settings, airflow) for _ in range(count)]
    relays = [Relay(settings, plane.database, plane.app.state.listener, each) for each in clients]
    tasks = [asyncio.create_task(relay.run()) for relay in relays]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
        for each in clients:
            await each.close()


async def outbox(plane: ControlPlane) -> list[Any]:
    async with plane.database.system() as session:
        return list(await session.execute(text("SELECT dead, error, attempts FROM outbox ORDER BY id")))


async def until(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    """Wait for a condition, which may be a coroutine function."""
    async with asyncio.timeout(seconds):
        while True:
            result = condition()
            if await result if asyncio.iscoroutine(result) else result:
                return
            await asyncio.sleep(0.01)


def is_empty(plane: ControlPlane) -> Callable[[], Any]:
    async def check() -> bool:
        return await outbox(plane) == []

    return check


class TestStart:
    async def test_run_has_the_execution_id_and_nothing_of_the_tenant(
        self, control_plane: ControlPlane, relay_settings: Settings, airflow: AirflowStub
    ) -> None:
        airflow.publish(DAG_ID, (await control_plane.publish())["digest"])
        async with relaying(control_plane, relay_settings, airflow):
            execution_id = await control_plane.execute({"name": "planted-marker"})
            await until(is_empty(control_plane))
        conf = {"execution_id": execution_id}
        assert airflow.runs[DAG_ID] == {execution_id: {"dag_run_id": execution_id, "logical_date": None, "conf": conf}}

    async def test_accepted_before_the_relay_began(
        self, control_plane: ControlPlane, relay_settings: Settings, airflow: AirflowStub
    ) -> None:
        airflow.publish(DAG_ID, (await control_plane.publish())["digest"])
        execution_id = await control_plane.execute()
        async with relaying(control_plane, relay_settings, airflow):
            await until(is_empty(control_plane))
        assert list(airflow.runs[DAG_ID]) == [execution_id]

    @pytest.mark.parametrize("attempts", [0, 3])
    async def test_the_databases_clock_was_set_back(
        self, control_plane: ControlPlane, relay_settings: Settings, airflow: AirflowStub, attempts: int
    ) -> None:
        airflow.publish(DAG_ID, (await control_plane.publish())["digest"])
        execution_id = await control_plane.execute()
        async with control_plane.database.system() as session:
            ahead = "UPDATE outbox SET available_at = now() + interval '1 h', created_at = now() + interval '1 h'"
            await session.execute(text(f"{ahead}, attempts = {attempts}"))
        async with relaying(control_plane, relay_settings, airflow):
            await until(is_empty(control_plane))
        assert list(airflow.runs[DAG_ID]) == [execution_id]

    async def test_run_exists_already(
        self, control_plane: ControlPlane, relay_settings: Settings, airflow: AirflowStub
    ) -> None:
        airflow.publish(DAG_ID, (await control_plane.publish())["digest"])
        execution_id = await control_plane.execute()
        airflow.runs[DAG_ID][execution_id] = {}
        async with relaying(control_plane, relay_settings, airflow):
            await until(is_empty(control_plane))
        assert (await control_plane.show(execution_id))["status"] == "pending"

    async def test_several_relays_start_each_run_once(
        self, control_plane: ControlPlane, relay_settings: Settings, airflow: AirflowStub
    ) -> None:
        airflow.publish(DAG_ID, (await control_plane.publish())["digest"])
        expected = {await control_plane.execute() for _ in range(30)}
        async with relaying(control_plane, relay_settings, airflow, count=3):
            await until(is_empty(control_plane))
        assert set(airflow.runs[DAG_ID]) == expected

    async def test_expired_token_is_renewed(
        self, control_plane: ControlPlane, relay_settings: Settings, airflow: AirflowStub
    ) -> None:
        airflow.publish(DAG_ID, (await control_plane.publish())["digest"])
        async with relaying(control_plane, relay_settings, airflow):
            await control_plane.execute()
            await until(is_empty(control_plane))
            airflow.expire_token()
            await control_plane.execute()
            await until(is_empty(control_plane))
        assert len(airflow.runs[DAG_ID]) == 2
        assert airflow.logins == 2

    async def test_server_error_is_tried_again(
        self, control_plane: ControlPlane, relay_settings: Settings, airflow: AirflowStub
    ) -> None:
        airflow.publish(DAG_ID, (await control_plane.publish())["digest"])
        airflow.failures = [503, 500]
        async with relaying(control_plane, relay_settings, airflow):
            await control_plane.execute()
            await until(is_empty(control_plane))
        assert len(airflow.runs[DAG_ID]) == 1

    async def test_conflict_without_such_a_run_is_tried_again(
        self, control_plane: ControlPlane, relay_settings: Settings, airflow: AirflowStub
    ) -> None:
        airflow.publish(DAG_ID, (await control_plane.publish())["digest"])
        airflow.failures = [409]
        async with relaying(control_plane, relay_settings, airflow):
            execution_id = await control_plane.execute()
            await until(is_empty(control_plane))
        assert list(airflow.runs[DAG_ID]) == [execution_id]


class TestDagVersion:
    async def test_unknown_dag_is_waited_for(
        self, control_plane: ControlPlane, relay_settings: Settings, airflow: AirflowStub
    ) -> None:
        digest = (await control_plane.publish())["digest"]
        async with relaying(control_plane, relay_settings, airflow):
            await control_plane.execute()
            await until(lambda: airflow.dag_reads >= 2)
            assert not airflow.runs
            airflow.publish(DAG_ID, digest)
            await until(is_empty(control_plane))
        assert len(airflow.runs[DAG_ID]) == 1

    async def test_older_graph_is_not_started(
        self, control_plane: ControlPlane, relay_settings: Settings, airflow: AirflowStub
    ) -> None:
        airflow.publish(DAG_ID, (await control_plane.publish())["digest"])
        async with relaying(control_plane, relay_settings, airflow):
            await control_plane.execute()
            await until(is_empty(control_plane))
            newest = await control_plane.publish(workflow(name="Renamed"))
            reads = airflow.dag_reads
            await control_plane.execute()
            await until(lambda: airflow.dag_reads >= reads + 2)
            assert len(airflow.runs[DAG_ID]) == 1
            airflow.publish(DAG_ID, newest["digest"])
            await until(is_empty(control_plane))
        assert len(airflow.runs[DAG_ID]) == 2

    async def test_back_to_an_older_plan_is_checked_again(
        self, control_plane: ControlPlane, relay_settings: Settings, airflow: AirflowStub
    ) -> None:
        first = await control_plane.publish()
        airflow.publish(DAG_ID, first["digest"])
        async with relaying(control_plane, relay_settings, airflow):
            await control_plane.execute()
            await until(is_empty(control_plane))
            second = await control_plane.publish(workflow(name="Renamed"))
            airflow.publish(DAG_ID, second["digest"])
            assert (await control_plane.publish())["digest"] == first["digest"]
            reads = airflow.dag_reads
            await control_plane.execute()
            await until(lambda: airflow.dag_reads >= reads + 1)
            assert len(airflow.runs[DAG_ID]) == 1
            airflow.publish(DAG_ID, first["digest"])
            await until(is_empty(control_plane))

    async def test_a_loaded_dag_is_asked_for_once(
        self, control_plane: ControlPlane, relay_settings: Settings, airflow: AirflowStub
    ) -> None:
        airflow.publish(DAG_ID, (await control_plane.publish())["digest"])
        async with relaying(control_plane, relay_settings, airflow):
            for _ in range(3):
                await control_plane.execute()
                await until(is_empty(control_plane))
        assert airflow.dag_reads == 1


class TestGivingUp:
    async def test_refused_for_good(
        self, control_plane: ControlPlane, relay_settings: Settings, airflow: AirflowStub
    ) -> None:
        airflow.publish(DAG_ID, (await control_plane.publish())["digest"])
        airflow.failures = [422, 403]
        settings = relay_settings.model_copy(update={"relay_max_refusals": 2})
        async with relaying(control_plane, settings, airflow):
            execution_id = await control_plane.execute()
            shown = (await control_plane.api.get(f"/api/v1/executions/{execution_id}?wait=20s")).json()
        assert shown["status"] == "failed"
        assert shown["error"]["code"] == "not_scheduled"
        assert [(row.dead, row.error) for row in await outbox(control_plane)] == [(True, "Airflow answered HTTP 403")]

    async def test_dag_that_never_loads(
        self, control_plane: ControlPlane, relay_settings: Settings, airflow: AirflowStub
    ) -> None:
        await control_plane.publish()
        settings = relay_settings.model_copy(update={"relay_missing_dag_seconds": 0.1})
        async with relaying(control_plane, settings, airflow):
            execution_id = await control_plane.execute()
            shown = (await control_plane.api.get(f"/api/v1/executions/{execution_id}?wait=20s")).json()
        assert shown["error"]["code"] == "not_scheduled"

    async def test_a_dead_entry_does_not_stop_the_next(
        self, control_plane: ControlPlane, relay_settings: Settings, airflow: AirflowStub
    ) -> None:
        airflow.publish(DAG_ID, (await control_plane.publish())["digest"])
        airflow.failures = [403]
        settings = relay_settings.model_copy(update={"relay_max_refusals": 1, "relay_in_flight": 1})
        async with relaying(control_plane, settings, airflow):
            await control_plane.execute()
            second = await control_plane.execute()
            await until(lambda: second in airflow.runs[DAG_ID])


class TestPush:
    async def test_known_dag(self, relay_settings: Settings, airflow: AirflowStub) -> None:
        airflow.publish(DAG_ID, "0" * 64)
        await client(relay_settings, airflow).push(DAG_ID)
        assert airflow.parsed == [f"file.{DAG_ID}"]

    async def test_release_uses_the_sentinel(self, relay_settings: Settings, airflow: AirflowStub) -> None:
        airflow.publish(DAG_ID, "0" * 64)
        airflow.publish(SENTINEL_DAG, "0" * 64)
        await client(relay_settings, airflow).push()
        assert airflow.parsed == [f"file.{SENTINEL_DAG}"]

    async def test_unknown_dag_uses_the_sentinel(self, relay_settings: Settings, airflow: AirflowStub) -> None:
        airflow.publish(SENTINEL_DAG, "0" * 64)
        await client(relay_settings, airflow).push(DAG_ID)
        assert airflow.parsed == [f"file.{SENTINEL_DAG}"]

    @pytest.mark.parametrize("password", ["wrong", "secret"])
    async def test_trouble_is_only_logged(
        self, relay_settings: Settings, airflow: AirflowStub, password: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        airflow.password = password
        await client(relay_settings, airflow).push(DAG_ID)
        await client(relay_settings, airflow).push(DAG_ID)
        assert not airflow.parsed
