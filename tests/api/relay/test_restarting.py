"""The relay starts runs again, against a stand-in for Airflow's REST API."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from api.relay import restarting
from api.settings import Settings
from tests.api.control_plane import UNIT, ControlPlane, workflow
from tests.api.relay.test_relay import DAG_ID, airflow, is_empty, outbox, relay_settings, relaying, until
from tests.stubs.airflow_server import AirflowStub

__all__ = ["airflow", "relay_settings"]

pytestmark = pytest.mark.platform

CLEARED = {
    "dry_run": False, "only_failed": False, "only_new": False, "run_on_latest_version": False, "note": None,
}  # fmt: skip


async def execute(plane: ControlPlane, statement: str) -> None:
    async with plane.database.system() as session:
        await session.execute(text(statement))


async def failed(plane: ControlPlane, airflow: AirflowStub, state: str | None = "failed", **changes: Any) -> str:
    """An execution that has failed, whose run in Airflow is in some state; None is for none."""
    digest = (await plane.publish(workflow(**changes)))["digest"]
    airflow.publish(DAG_ID, digest)
    execution_id = await plane.execute()
    await execute(plane, "DELETE FROM outbox")
    await fail(plane, execution_id, digest)
    if state is not None:
        airflow.runs[DAG_ID][execution_id] = {}
        airflow.states[execution_id] = state
    return execution_id


async def fail(plane: ControlPlane, execution_id: str, digest: str, clear_number: int = 0) -> None:
    grant = await plane.lease(execution_id, digest, clear_number=clear_number)
    body = {"unit": UNIT, "token": grant["token"], "status": "failed", "error": {"code": "c", "message": "m"}}
    assert (await plane.call(execution_id, "finish", body)).status_code == 200


async def retry(plane: ControlPlane, execution_id: str) -> None:
    response = await plane.api.post(f"/api/v1/executions/{execution_id}/retry")
    assert response.status_code == 202, response.text


@pytest.fixture
def quick(relay_settings: Settings) -> Settings:
    """Settings for what must be tried again and again."""
    return relay_settings.model_copy(update={"relay_poll_seconds": 0.02})


async def test_the_whole_run_is_cleared_on_its_own_version(
    control_plane: ControlPlane, relay_settings: Settings, airflow: AirflowStub
) -> None:
    execution_id = await failed(control_plane, airflow)
    async with relaying(control_plane, relay_settings, airflow):
        await retry(control_plane, execution_id)
        await until(is_empty(control_plane))
    assert airflow.clears == {execution_id: [CLEARED]}
    assert list(airflow.runs[DAG_ID]) == [execution_id]


async def test_a_run_of_airflows_own(
    control_plane: ControlPlane, relay_settings: Settings, airflow: AirflowStub
) -> None:
    execution_id = await failed(control_plane, airflow, None)
    run_id = "manual__2026-03-01T06:00:00+00:00"
    await execute(
        control_plane,
        "INSERT INTO adopted_runs (organization_id, dag_id, run_id, execution_id)"
        f" SELECT organization_id, '{DAG_ID}', '{run_id}', id FROM workflow_executions",
    )
    airflow.runs[DAG_ID][run_id] = {}
    airflow.states[run_id] = "success"
    async with relaying(control_plane, relay_settings, airflow):
        await retry(control_plane, execution_id)
        await until(is_empty(control_plane))
        assert airflow.clears == {run_id: [CLEARED]}
        # Airflow has deleted it: then the new one has the execution's id.
        digest = (await control_plane.show(execution_id))["digest"]
        await fail(control_plane, execution_id, digest, clear_number=1)
        del airflow.runs[DAG_ID][run_id]
        await retry(control_plane, execution_id)
        await until(is_empty(control_plane))
    assert list(airflow.runs[DAG_ID]) == [execution_id]
    assert (await control_plane.show(execution_id))["airflow_url"].endswith(execution_id)


async def test_a_run_that_is_gone(control_plane: ControlPlane, relay_settings: Settings, airflow: AirflowStub) -> None:
    """The new run's clear number is 0, and what its steps begin elsewhere is still begun anew."""
    execution_id = await failed(control_plane, airflow)
    digest = (await control_plane.show(execution_id))["digest"]
    async with relaying(control_plane, relay_settings, airflow):
        await retry(control_plane, execution_id)
        await until(is_empty(control_plane))
        await fail(control_plane, execution_id, digest, clear_number=1)
        del airflow.runs[DAG_ID][execution_id]
        await retry(control_plane, execution_id)
        await until(is_empty(control_plane))
    conf = {"execution_id": execution_id}
    assert airflow.runs[DAG_ID] == {execution_id: {"dag_run_id": execution_id, "logical_date": None, "conf": conf}}
    grant = await control_plane.lease(execution_id, digest)
    assert (grant["life"], (await control_plane.show(execution_id))["status"]) == (2, "running")


async def test_a_run_that_is_gone_after_a_newer_publish(
    control_plane: ControlPlane, relay_settings: Settings, airflow: AirflowStub
) -> None:
    execution_id = await failed(control_plane, airflow, None)
    airflow.publish(DAG_ID, (await control_plane.publish(workflow(name="Newer", version="2")))["digest"])
    async with relaying(control_plane, relay_settings, airflow):
        await retry(control_plane, execution_id)
        await until(is_empty(control_plane))
    shown = await control_plane.show(execution_id)
    assert (shown["status"], shown["error"]["code"]) == ("failed", "run_deleted")
    assert "version 2" in shown["error"]["message"]
    assert airflow.runs[DAG_ID] == {}


async def test_a_run_that_has_still_to_end(control_plane: ControlPlane, quick: Settings, airflow: AirflowStub) -> None:
    execution_id = await failed(control_plane, airflow, "running")
    async with relaying(control_plane, quick, airflow):
        await retry(control_plane, execution_id)

        async def postponed() -> bool:
            rows = await outbox(control_plane)
            return bool(rows[0].error)

        await until(postponed)
        assert airflow.clears == {}
        airflow.states[execution_id] = "failed"
        await until(is_empty(control_plane))
    assert airflow.clears == {execution_id: [CLEARED]}


async def test_a_run_that_does_not_end_is_stopped(
    control_plane: ControlPlane, quick: Settings, airflow: AirflowStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restarting, "LOOKS_BEFORE_STOP", 1)
    execution_id = await failed(control_plane, airflow, "running")
    async with relaying(control_plane, quick, airflow):
        await retry(control_plane, execution_id)
        await until(is_empty(control_plane))
    assert airflow.clears == {execution_id: [CLEARED]}
    assert airflow.states[execution_id] == "queued", "it was made to fail, and cleared then"


async def test_a_run_that_is_to_be_stopped(control_plane: ControlPlane, quick: Settings, airflow: AirflowStub) -> None:
    """Whichever relay comes first, the stop hits the former life only."""
    execution_id = await failed(control_plane, airflow)
    await execute(
        control_plane,
        "INSERT INTO outbox (organization_id, execution_id, agent_id, dag_id, kind, available_at)"
        f" SELECT organization_id, id, agent_id, '{DAG_ID}', 'stop', now() + interval '5 min' FROM workflow_executions",
    )
    async with relaying(control_plane, quick, airflow):
        await retry(control_plane, execution_id)

        async def postponed() -> bool:
            return any(row.error for row in await outbox(control_plane))

        await until(postponed)
        assert airflow.clears == {}
        await execute(control_plane, "UPDATE outbox SET available_at = now() WHERE kind = 'stop'")
        await until(is_empty(control_plane))
    assert airflow.clears == {execution_id: [CLEARED]}


async def test_a_relay_that_died_after_the_clear(
    control_plane: ControlPlane, relay_settings: Settings, airflow: AirflowStub
) -> None:
    execution_id = await failed(control_plane, airflow)
    digest = (await control_plane.show(execution_id))["digest"]
    await retry(control_plane, execution_id)
    # The dead one's clear; a worker has begun since.
    airflow.states[execution_id] = "running"
    grant = await control_plane.lease(execution_id, digest, clear_number=1)
    async with relaying(control_plane, relay_settings, airflow):
        await until(is_empty(control_plane))
    assert (airflow.clears, airflow.states[execution_id]) == ({}, "running")
    heard = await control_plane.call(execution_id, "heartbeat", {"unit": UNIT, "token": grant["token"]})
    assert heard.status_code == 200


async def test_cancelled_meanwhile(control_plane: ControlPlane, relay_settings: Settings, airflow: AirflowStub) -> None:
    execution_id = await failed(control_plane, airflow)
    await retry(control_plane, execution_id)
    await control_plane.api.post(f"/api/v1/executions/{execution_id}/cancel")
    async with relaying(control_plane, relay_settings, airflow):
        await until(is_empty(control_plane))
    assert airflow.clears == {}
    assert (await control_plane.show(execution_id))["status"] == "cancelled"


async def test_airflow_is_away_for_a_while(control_plane: ControlPlane, quick: Settings, airflow: AirflowStub) -> None:
    execution_id = await failed(control_plane, airflow)
    airflow.clear_failures = [503, 500]
    async with relaying(control_plane, quick, airflow):
        await retry(control_plane, execution_id)
        await until(is_empty(control_plane))
    assert airflow.clears == {execution_id: [CLEARED]}


async def test_airflow_refuses(control_plane: ControlPlane, quick: Settings, airflow: AirflowStub) -> None:
    execution_id = await failed(control_plane, airflow)
    airflow.clear_failures = [403] * 5
    async with relaying(control_plane, quick, airflow):
        await retry(control_plane, execution_id)

        async def buried() -> bool:
            return [row.dead for row in await outbox(control_plane)] == [True]

        await until(buried)
        assert (await control_plane.show(execution_id))["error"]["code"] == "not_scheduled"
        # Once more, now that Airflow is well: the buried order is not in the way.
        await retry(control_plane, execution_id)
        await until(is_empty(control_plane))
    assert airflow.clears == {execution_id: [CLEARED]}


async def test_it_waits_for_a_place(control_plane: ControlPlane, quick: Settings, airflow: AirflowStub) -> None:
    execution_id = await failed(control_plane, airflow, settings={"concurrency": {"limit": 1}})
    digest = (await control_plane.show(execution_id))["digest"]
    free = await control_plane.publish(workflow(id="free", trigger={"type": "manual"}))
    airflow.publish("default__free", free["digest"])
    async with relaying(control_plane, quick, airflow):
        other = await control_plane.execute()
        await until(is_empty(control_plane))
        await retry(control_plane, execution_id)
        third = await control_plane.execute()
        # What came later has been taken, so these two were left.
        last = await control_plane.execute(workflow_id="free")
        await until(lambda: last in airflow.runs["default__free"])
        assert [row.attempts for row in await outbox(control_plane)][:2] == [0, 0]
        await fail(control_plane, other, digest)
        await until(lambda: airflow.clears)
        assert third not in airflow.runs[DAG_ID]
        await fail(control_plane, execution_id, digest, clear_number=1)
        await until(is_empty(control_plane))
    assert third in airflow.runs[DAG_ID]
