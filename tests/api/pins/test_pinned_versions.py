"""Versions that calls pin: what a publish makes of them, how they run, and when their DAGs go."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from api.relay.airflow import AirflowClient
from api.releases.service import collect_releases
from compiler.plan import plan_digest
from tests.api.control_plane import UNIT, ControlPlane, lease_request, workflow
from tests.api.relay.test_relay import outbox, relaying, until
from tests.stubs.airflow_server import AirflowStub

pytestmark = pytest.mark.platform

V1 = "default__score-v1"


def score(label: str, **changes: Any) -> dict[str, Any]:
    """A workflow that others call; each label is another plan."""
    return workflow(id="score", version=label, trigger={"type": "workflow", "config": {}}, **changes)


def caller(*versions: Any, workflow_id: str = "caller", called: str = "score", **changes: Any) -> dict[str, Any]:
    """A workflow with a call for each version."""
    tasks = [
        {
            "id": f"call{number}", "type": "workflow",
            "config": {"workflow": called, "version": version, "input": {"name": "Bob"}},
        }
        for number, version in enumerate(versions)
    ]  # fmt: skip
    return workflow(id=workflow_id, trigger={"type": "workflow", "config": {}}, tasks=tasks, **changes)


async def publish(plane: ControlPlane, document: dict[str, Any]) -> httpx.Response:
    return await plane.api.post(f"/api/v1/workflows/{document['id']}/publish", json=document)


async def begin(plane: ControlPlane, digest: str, workflow_id: str = "caller", unit: str = "call0") -> str:
    """Return an execution that has begun."""
    execution_id = await plane.execute(workflow_id=workflow_id)
    await plane.lease(execution_id, digest, workflow_id=workflow_id, unit=unit)
    return execution_id


async def call(plane: ControlPlane, parent: str, version: Any = 1, **fields: Any) -> dict[str, Any]:
    body = {"key": "key", "workflow_id": "score", "version": version, "input": {"name": "Bob"}, **fields}
    response = await plane.call(parent, "children", body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def released(plane: ControlPlane) -> dict[str, str]:
    body = (await plane.runtime.get("/runtime/v1/release")).json()
    return {entry["name"]: entry["sha256"] for entry in body["artifacts"]}


async def pinned_dags(plane: ControlPlane) -> set[str]:
    return {name.removesuffix(".py") for name in await released(plane) if name.endswith(".py") and "-v" in name}


async def sql(plane: ControlPlane, statement: str, **values: Any) -> None:
    async with plane.database.system() as session:
        await session.execute(text(statement), values)


async def collect(plane: ControlPlane) -> None:
    async with plane.database.system() as session:
        await collect_releases(session, timedelta(0))


@pytest.fixture
async def digests(control_plane: ControlPlane) -> list[str]:
    """Two published versions of ``score``, labelled ``1.0`` and ``2.0``."""
    return [(await control_plane.publish(score(label)))["digest"] for label in ("1.0", "2.0")]


@pytest.fixture
async def parent(control_plane: ControlPlane, digests: list[str]) -> str:
    """An execution whose version pins version 1."""
    return await begin(control_plane, (await control_plane.publish(caller(1)))["digest"])


class TestPublish:
    async def test_the_release_has_the_versions_own_dag(self, control_plane: ControlPlane, digests: list[str]) -> None:
        await control_plane.publish(caller(1))
        files = await released(control_plane)
        assert files[f"{V1}.plan.json"] == digests[0]
        assert files["default__score.plan.json"] == digests[1]
        content = await control_plane.runtime.post("/runtime/v1/artifacts", json={"sha256": [files[f"{V1}.py"]]})
        assert f'dag_id="{V1}"'.encode() in content.content
        assert digests[0].encode() in content.content

    async def test_a_call_without_a_version_has_none(self, control_plane: ControlPlane, digests: list[str]) -> None:
        await control_plane.publish(caller(None))
        assert await pinned_dags(control_plane) == set()

    async def test_a_label_is_the_newest_version_that_has_it(self, control_plane: ControlPlane) -> None:
        for name in ("one", "two", "three"):
            await control_plane.publish(score("stable" if name != "three" else "next", name=name))
        await control_plane.publish(caller("stable"))
        assert await pinned_dags(control_plane) == {"default__score-v2"}

    @pytest.mark.parametrize(
        ("version", "called", "got"),
        [
            (3, "score", "got 3; published are 2 ('2.0'), 1 ('1.0')."),
            ("1", "score", "got '1'; published are"),
            (1, "nobody", "nothing of this id is published"),
        ],
    )
    async def test_unknown(
        self, control_plane: ControlPlane, digests: list[str], version: Any, called: str, got: str
    ) -> None:
        before = await released(control_plane)
        response = await publish(control_plane, caller("2.0", version, called=called))
        assert (response.status_code, response.json()["code"]) == (422, "invalid_workflow")
        found = [item for item in response.json()["diagnostics"] if item["task_id"] == "call1"]
        assert [(item["code"], item["path"]) for item in found] == [("unknown_version", "/tasks/1/config/version")]
        assert got in found[0]["message"]
        assert await released(control_plane) == before
        assert (await control_plane.api.post("/api/v1/workflows/execute", json={"workflow_id": "caller"})).is_error

    async def test_a_version_may_call_an_older_one_of_itself(self, control_plane: ControlPlane) -> None:
        await control_plane.publish(score("1.0"))
        await control_plane.publish(caller(1, workflow_id="score"))
        assert await pinned_dags(control_plane) == {V1}

    async def test_versions_that_a_pinned_one_pins_come_along(
        self, control_plane: ControlPlane, digests: list[str]
    ) -> None:
        await control_plane.publish(caller(1, workflow_id="middle"))
        await control_plane.publish(caller(None, workflow_id="middle"))
        await collect(control_plane)
        assert await pinned_dags(control_plane) == set()
        await control_plane.publish(caller(1, workflow_id="top", called="middle"))
        assert await pinned_dags(control_plane) == {V1, "default__middle-v1"}

    async def test_a_plan_that_was_removed_is_made_again(self, control_plane: ControlPlane, digests: list[str]) -> None:
        await collect(control_plane)
        gone = await control_plane.runtime.post("/runtime/v1/artifacts", json={"sha256": [digests[0]]})
        assert gone.status_code == 404
        await control_plane.publish(caller(1))
        back = await control_plane.runtime.post("/runtime/v1/artifacts", json={"sha256": [digests[0]]})
        assert plan_digest(back.content[4:]) == digests[0]

    async def test_a_plan_that_would_be_another_one_is_not(
        self, control_plane: ControlPlane, digests: list[str]
    ) -> None:
        await collect(control_plane)
        await sql(control_plane, "UPDATE workflow_versions SET source = :s WHERE number = 1", s=b"{}")
        response = await publish(control_plane, caller(1))
        assert (response.status_code, response.json()["code"]) == (409, "version_not_available")


class TestCall:
    async def test_the_pinned_version_runs(self, control_plane: ControlPlane, parent: str, digests: list[str]) -> None:
        child = (await call(control_plane, parent))["execution_id"]
        shown = await control_plane.show(child)
        assert (shown["version"], shown["digest"]) == (1, digests[0])
        assert shown["airflow_url"].endswith(f"/dags/{V1}/runs/{child}")
        other = await control_plane.call(child, "lease", lease_request(digests[1], workflow_id="score"))
        assert (other.status_code, other.json()["code"]) == (409, "plan_mismatch")
        grant = await control_plane.lease(child, digests[0], workflow_id="score")
        assert grant["execution"]["version"] == 1

    async def test_a_later_version_of_the_same_plan_is_another_one(
        self, control_plane: ControlPlane, parent: str, digests: list[str]
    ) -> None:
        await control_plane.publish(score("1.0"))
        child = (await call(control_plane, parent))["execution_id"]
        await control_plane.lease(child, digests[0], workflow_id="score")
        assert (await control_plane.show(child))["version"] == 1

    async def test_a_label_keeps_its_meaning(self, control_plane: ControlPlane) -> None:
        await control_plane.publish(score("stable", name="one"))
        digest = (await control_plane.publish(caller("stable")))["digest"]
        await control_plane.publish(score("stable", name="two"))
        child = await call(control_plane, await begin(control_plane, digest), "stable")
        assert (await control_plane.show(child["execution_id"]))["version"] == 1

    @pytest.mark.parametrize("version", [2, "1.0"])
    async def test_what_the_callers_version_does_not_pin(
        self, control_plane: ControlPlane, parent: str, version: Any
    ) -> None:
        child = await call(control_plane, parent, version)
        assert (child["execution_id"], child["refused"]["code"]) == ("", "unknown_version")

    async def test_a_cancel_goes_down_to_it_and_stops_its_own_run(
        self, control_plane: ControlPlane, parent: str, digests: list[str]
    ) -> None:
        child = (await call(control_plane, parent))["execution_id"]
        await control_plane.lease(child, digests[0], workflow_id="score")
        await sql(control_plane, "UPDATE leases SET expires_at = now()")
        await sql(control_plane, "UPDATE outbox SET attempts = 1")
        assert (await control_plane.api.post(f"/api/v1/executions/{parent}/cancel")).is_success
        assert (await control_plane.show(child))["status"] == "cancelled"
        async with control_plane.database.system() as session:
            statement = text("SELECT dag_id FROM outbox WHERE kind = 'stop' AND execution_id = :child")
            assert (await session.scalars(statement, {"child": child})).all() == [V1]

    async def test_it_runs_again_on_its_own_dag(
        self, control_plane: ControlPlane, parent: str, digests: list[str]
    ) -> None:
        child = (await call(control_plane, parent))["execution_id"]
        token = (await control_plane.lease(child, digests[0], workflow_id="score"))["token"]
        await control_plane.call(child, "finish", {"unit": UNIT, "token": token, "status": "failed"})
        assert (await control_plane.api.post(f"/api/v1/executions/{child}/retry")).is_success
        async with control_plane.database.system() as session:
            statement = text("SELECT dag_id FROM outbox WHERE kind = 'restart'")
            assert (await session.scalars(statement)).all() == [V1]

    async def test_limits_count_all_versions(self, control_plane: ControlPlane) -> None:
        once: dict[str, Any] = {"settings": {"concurrency": {"limit": 1}, "conflict": "fail"}}
        await control_plane.publish(score("1.0", **once))
        await control_plane.publish(score("2.0", **once))
        parent = await begin(control_plane, (await control_plane.publish(caller(1)))["digest"])
        newest = await control_plane.execute(workflow_id="score")
        assert (await call(control_plane, parent))["refused"]["code"] == "conflict"
        await control_plane.api.post(f"/api/v1/executions/{newest}/cancel")
        assert (await call(control_plane, parent))["refused"] is None
        body = {"workflow_id": "score", "input": {"name": "Ann"}}
        assert (await control_plane.api.post("/api/v1/workflows/execute", json=body)).status_code == 409


class TestAirflow:
    @pytest.fixture
    def airflow(self) -> AirflowStub:
        return AirflowStub()

    async def test_the_relay_starts_it_on_its_own_dag(
        self, control_plane: ControlPlane, parent: str, digests: list[str], airflow: AirflowStub
    ) -> None:
        child = (await call(control_plane, parent))["execution_id"]
        await sql(control_plane, "DELETE FROM outbox WHERE execution_id <> :child", child=child)
        airflow.publish("default__score", digests[1])
        settings = control_plane.app.state.settings.model_copy(
            update={"airflow_password": SecretStr("secret"), "relay_poll_seconds": 60.0}
        )
        async with relaying(control_plane, settings, airflow):

            async def was_tried() -> bool:
                return [row.error is not None for row in await outbox(control_plane)] == [True]

            await until(was_tried)
            # The workflow's own DAG is there, and others of it are started meanwhile.
            newest = await control_plane.execute(workflow_id="score")
            await until(lambda: newest in airflow.runs["default__score"])
            airflow.publish(V1, digests[0])
            await until(lambda: child in airflow.runs.get(V1, {}))
        assert child not in airflow.runs["default__score"]

    async def test_reconciliation_finds_its_run(
        self, control_plane: ControlPlane, parent: str, digests: list[str], airflow: AirflowStub
    ) -> None:
        child = (await call(control_plane, parent))["execution_id"]
        await sql(control_plane, "DELETE FROM outbox")
        await sql(control_plane, "UPDATE workflow_executions SET relayed_at = now() - interval '1 hour'")
        airflow.publish(V1, digests[0])
        airflow.runs[V1][child] = {}
        airflow.states[child] = "failed"
        settings = control_plane.app.state.settings.model_copy(update={"airflow_password": SecretStr("secret")})
        client = AirflowClient(settings, transport=httpx.ASGITransport(airflow.app()))
        original, control_plane.app.state.airflow = control_plane.app.state.airflow, client
        body = {"runs": [{"dag_id": V1, "run_id": child}]}
        assert (await control_plane.runtime.post("/runtime/v1/runs/ended", json=body)).is_success
        control_plane.app.state.airflow = original
        await client.close()
        shown = await control_plane.show(child)
        assert (shown["status"], shown["error"]["code"]) == ("failed", "run_ended_by_airflow")

    async def test_a_run_that_was_started_by_hand_is_adopted(
        self, control_plane: ControlPlane, parent: str, digests: list[str]
    ) -> None:
        run = {"due_at": "2026-11-24T09:30:00Z", "dag_id": V1}
        await control_plane.publish(score("2.0", input={"type": "object"}))
        for digest, status in ((digests[1], 409), (digests[0], 410)):
            body = lease_request(digest, workflow_id="score", run=run)
            assert (await control_plane.call("by_hand", "lease", body)).status_code == status
        async with control_plane.database.system() as session:
            statement = text(
                "SELECT dag_id, pinned_dag_id FROM adopted_runs JOIN workflow_executions ON id = execution_id"
            )
            assert [tuple(row) for row in await session.execute(statement)] == [(V1, V1)]


class TestCollect:
    """The DAG of a pinned version stays for as long as somebody may need it."""

    async def test_while_a_current_version_pins_it(self, control_plane: ControlPlane, digests: list[str]) -> None:
        await control_plane.publish(caller(1))
        await control_plane.publish(score("3.0"))
        await collect(control_plane)
        files = await released(control_plane)
        assert await pinned_dags(control_plane) == {V1}
        response = await control_plane.runtime.post("/runtime/v1/artifacts", json={"sha256": list(files.values())})
        assert response.status_code == 200

    async def test_while_a_calling_execution_is_there(self, control_plane: ControlPlane, parent: str) -> None:
        await control_plane.publish(caller(None))
        await collect(control_plane)
        assert await pinned_dags(control_plane) == {V1}
        assert (await call(control_plane, parent))["refused"] is None

    async def test_while_an_execution_of_it_is_there(self, control_plane: ControlPlane, parent: str) -> None:
        await call(control_plane, parent, detached=True)
        await control_plane.publish(caller(None))
        await sql(control_plane, "DELETE FROM workflow_executions WHERE id = :parent", parent=parent)
        await collect(control_plane)
        assert await pinned_dags(control_plane) == {V1}

    async def test_then_it_goes(self, control_plane: ControlPlane, parent: str, digests: list[str]) -> None:
        await call(control_plane, parent)
        await control_plane.publish(caller(None))
        before = await released(control_plane)
        await sql(control_plane, "DELETE FROM workflow_executions")
        await collect(control_plane)
        await collect(control_plane)
        files = await released(control_plane)
        assert before.keys() - files.keys() == {f"{V1}.py", f"{V1}.plan.json"}
        gone = await control_plane.runtime.post("/runtime/v1/artifacts", json={"sha256": [digests[0]]})
        assert gone.status_code == 404
        latest = (await control_plane.runtime.get("/runtime/v1/release")).json()["release"]
        await collect(control_plane)
        assert (await control_plane.runtime.get("/runtime/v1/release")).json()["release"] == latest

    async def test_files_of_an_old_release_stay_for_its_runs(self, control_plane: ControlPlane, parent: str) -> None:
        """A run keeps its release, though a newer compiler has written the DAG anew meanwhile."""
        await call(control_plane, parent)
        old = (await released(control_plane))[f"{V1}.py"]
        await sql(
            control_plane,
            "UPDATE release_artifacts SET valid_to = valid_from + 1 WHERE sha256 = :sha256",
            sha256=old,
        )
        await control_plane.publish(score("3.0"))
        await collect(control_plane)
        response = await control_plane.runtime.post("/runtime/v1/artifacts", json={"sha256": [old]})
        assert response.status_code == 200
