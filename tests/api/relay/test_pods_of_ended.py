"""Whatever ends an execution, the relay removes what is left of its pods; no trouble of the cluster is in its way."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from api.namespaces.cluster import FoundPod, NamespaceError
from api.settings import Settings
from tests.api.control_plane import WORKFLOW_ID, ControlPlane
from tests.api.relay.test_relay import is_empty, outbox, relaying, until
from tests.stubs.airflow_server import AirflowStub

pytestmark = pytest.mark.platform

DAG_ID = f"default__{WORKFLOW_ID}"
SOURCE = {
    "id": WORKFLOW_ID, "name": "Pods", "version": "1", "trigger": {"type": "manual", "config": {}},
    "tasks": [{"id": "a", "type": "container", "runtime_image": "x:1", "config": {"command": ["sleep", "60"]}}],
}  # fmt: skip


class Cluster:
    """Stands for the organisations' namespaces; tests put pods into it.

    :param away: Whether it refuses every call.
    """

    def __init__(self) -> None:
        self.names: dict[str, set[str]] = {}
        self.away = False
        self.asked = 0

    def ensure(self, organization: str) -> None:
        """Do nothing: they are there."""

    def pods(self, organization: str, execution_id: UUID) -> list[FoundPod]:
        """Return an execution's pods."""
        self.asked += 1
        if self.away:
            raise NamespaceError("the API server is away")
        found = sorted(self.names.get(str(execution_id), ()))
        return [FoundPod(name, f"uid of {name}", str(execution_id), datetime.now(UTC)) for name in found]

    def delete_pod(self, organization: str, pod: FoundPod) -> None:
        """Delete one."""
        assert organization == "default"
        self.names[pod.execution].remove(pod.name)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()
    # What a process remembers would outlast the test.
    monkeypatch.setattr("api.namespaces.preparing._ensured", {})
    for module in ("api.namespaces.preparing", "api.relay.pods"):
        monkeypatch.setattr(f"{module}.Namespaces", lambda settings: made)
    return made


@pytest.fixture
def settings(settings: Settings) -> Settings:
    pods = {"isolation": "kubernetes", "kubernetes_config": "/of/the/test", "lease_ttl_seconds": 0.3}
    relay = {"airflow_password": SecretStr("secret"), "relay_poll_seconds": 60.0}
    return settings.model_copy(update={**pods, **relay})


@pytest.fixture
def airflow() -> AirflowStub:
    return AirflowStub()


async def started(plane: ControlPlane, cluster: Cluster, airflow: AirflowStub) -> tuple[str, dict[str, Any]]:
    """Return an execution that Airflow runs, whose step waits for a pod; and what its runner needs to speak of it."""
    digest = (await plane.publish(SOURCE))["digest"]
    airflow.publish(DAG_ID, digest)
    execution_id = await plane.execute({})
    await until(lambda: execution_id in airflow.runs[DAG_ID])
    await until(is_empty(plane))
    grant = await plane.lease(execution_id, digest, unit="a")
    cluster.names[execution_id] = {"of-it"}
    cluster.names["another"] = {"of-another"}
    return execution_id, {"unit": "a", "token": grant["token"]}


async def test_cancelled_while_nobody_is_at_work(
    control_plane: ControlPlane, settings: Settings, airflow: AirflowStub, cluster: Cluster
) -> None:
    async with relaying(control_plane, settings, airflow):
        execution_id, runner = await started(control_plane, cluster, airflow)
        await control_plane.call(execution_id, "settle", runner)
        await control_plane.api.post(f"/api/v1/executions/{execution_id}/cancel")
        await until(is_empty(control_plane))
    assert cluster.names == {execution_id: set(), "another": {"of-another"}}
    assert airflow.states[execution_id] == "failed"
    [step] = (await control_plane.show(execution_id))["steps"]
    assert (step["status"], step["error"]) == ("cancelled", None)


@pytest.mark.parametrize("status", ["failed", "success"])
async def test_ended_by_its_runner(
    status: str, control_plane: ControlPlane, settings: Settings, airflow: AirflowStub, cluster: Cluster
) -> None:
    """Of parallel steps one fails, or time is over: the pods of the others are still there."""
    async with relaying(control_plane, settings, airflow):
        execution_id, runner = await started(control_plane, cluster, airflow)
        answer = await control_plane.call(execution_id, "finish", {**runner, "status": status})
        assert answer.status_code == 200, answer.text
        await until(is_empty(control_plane))
    assert cluster.names[execution_id] == set()
    assert execution_id not in airflow.states, "Airflow's run comes to its own end"


async def test_cancelled_while_airflow_is_away(
    control_plane: ControlPlane, settings: Settings, airflow: AirflowStub, cluster: Cluster
) -> None:
    async with relaying(control_plane, settings, airflow):
        execution_id, runner = await started(control_plane, cluster, airflow)
        await control_plane.call(execution_id, "settle", runner)
        airflow.away = 503
        await control_plane.api.post(f"/api/v1/executions/{execution_id}/cancel")
        await until(lambda: not cluster.names[execution_id])


async def test_ended_while_no_relay_was_there(
    control_plane: ControlPlane, settings: Settings, airflow: AirflowStub, cluster: Cluster
) -> None:
    async with relaying(control_plane, settings, airflow):
        execution_id, runner = await started(control_plane, cluster, airflow)
    await control_plane.call(execution_id, "finish", {**runner, "status": "failed"})
    assert cluster.names[execution_id]
    async with relaying(control_plane, settings, airflow):
        await until(is_empty(control_plane))
    assert not cluster.names[execution_id]


async def test_a_cluster_that_is_away_is_in_nobodys_way(
    control_plane: ControlPlane,
    settings: Settings,
    airflow: AirflowStub,
    cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Longer than the rest takes on a busy machine.
    monkeypatch.setattr("api.relay.outages.FIRST_DELAY_SECONDS", 30.0)
    async with relaying(control_plane, settings, airflow):
        execution_id, runner = await started(control_plane, cluster, airflow)
        await control_plane.call(execution_id, "settle", runner)
        cluster.away = True
        answer = await control_plane.api.post(f"/api/v1/executions/{execution_id}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
        await until(is_empty(control_plane))
        assert airflow.states[execution_id] == "failed"
        other, runner = await started(control_plane, cluster, airflow)
        await control_plane.call(other, "finish", {**runner, "status": "failed"})
        await until(is_empty(control_plane))
    assert cluster.names[execution_id], "the reconciler's"
    assert cluster.asked == 1, "for a while nobody waits for it again"


async def test_opened_again_meanwhile(
    control_plane: ControlPlane, settings: Settings, airflow: AirflowStub, cluster: Cluster
) -> None:
    async with relaying(control_plane, settings, airflow):
        execution_id, runner = await started(control_plane, cluster, airflow)
    await control_plane.call(execution_id, "finish", {**runner, "status": "failed"})
    async with control_plane.database.system() as session:
        await session.execute(text("UPDATE workflow_executions SET status = 'running', completed_at = NULL"))
    async with relaying(control_plane, settings, airflow):
        await until(is_empty(control_plane))
    assert cluster.names[execution_id]


async def test_without_pods_there_is_nothing_to_remove(
    control_plane: ControlPlane, settings: Settings, airflow: AirflowStub, cluster: Cluster
) -> None:
    digest = (await control_plane.publish())["digest"]
    airflow.publish(DAG_ID, digest)
    async with relaying(control_plane, settings, airflow):
        execution_id = await control_plane.execute()
        await until(lambda: execution_id in airflow.runs[DAG_ID])
        await until(is_empty(control_plane))
    grant = await control_plane.lease(execution_id, digest)
    runner = {"unit": "segment.hello", "token": grant["token"]}
    await control_plane.call(execution_id, "finish", {**runner, "status": "failed"})
    assert await outbox(control_plane) == []


async def test_a_slow_cluster_does_not_hold_the_relay(
    control_plane: ControlPlane,
    settings: Settings,
    airflow: AirflowStub,
    cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("api.relay.pods.LONGEST_SECONDS", 0.1)

    async def slow(*_: object) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr("api.relay.pods.PodRemoval._remove", slow)
    async with relaying(control_plane, settings, airflow):
        execution_id, runner = await started(control_plane, cluster, airflow)
        await control_plane.call(execution_id, "finish", {**runner, "status": "failed"})
        await until(is_empty(control_plane), 10)
