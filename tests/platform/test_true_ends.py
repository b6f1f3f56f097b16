"""Whatever Airflow does without our code, the execution comes to its true end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
import pytest

from tests.platform.test_limits_and_events import ask, workflow
from tests.stubs.http_server import Exchange, HttpServer
from tests.stubs.model_server import ModelServer
from tests.support import Platform

pytestmark = pytest.mark.platform

UPKEEP_DAG = "agent-factory.reconcile"
WAIT = {"id": "pause", "type": "wait", "config": {"seconds": 3600}, "next": ["after"]}
AFTER = {"id": "after", "type": "transform", "config": {"set": {"x": 1}}}


def waiting(workflow_id: str, **extra: Any) -> dict[str, Any]:
    return workflow(workflow_id, WAIT, AFTER, **extra)


def reconcile(platform: Platform) -> str:
    """Have the upkeep DAG run at once; return the state its run ends in."""
    response = platform.airflow.post(f"/api/v2/dags/{UPKEEP_DAG}/dagRuns", json={"logical_date": None})
    assert response.is_success, response.text
    return platform.airflow_run_state(UPKEEP_DAG, response.json()["dag_run_id"])


def mark(platform: Platform, workflow_id: str, execution_id: str, state: str) -> None:
    path = f"/api/v2/dags/default__{workflow_id}/dagRuns/{execution_id}"
    response = platform.airflow.patch(path, json={"state": state})
    assert response.is_success, response.text


def task_state(platform: Platform, workflow_id: str, execution_id: str, task_id: str) -> Any:
    path = f"/api/v2/dags/default__{workflow_id}/dagRuns/{execution_id}/taskInstances/{task_id}"
    return platform.airflow.get(path).json().get("state")


def deferred(platform: Platform, workflow_id: str) -> str:
    """Return an execution that waits, deferred."""
    execution_id = platform.execute(workflow_id, {})
    platform.until(lambda: task_state(platform, workflow_id, execution_id, "pause") == "deferred")
    return execution_id


@contextmanager
def queued(platform: Platform, workflow_id: str) -> Iterator[str]:
    """Give an execution whose run waits in Airflow's queue, for its DAG is paused; the relay took it a while ago."""
    published = platform.publish(waiting(workflow_id))
    dag = f"/api/v2/dags/{published['dag_id']}"
    platform.until(lambda: platform.airflow_has(published["dag_id"], published["digest"]))
    assert platform.airflow.patch(dag, json={"is_paused": True}).is_success
    execution_id = platform.execute(workflow_id, {})
    platform.until(lambda: platform.airflow.get(f"{dag}/dagRuns/{execution_id}").is_success)
    rows(platform, "UPDATE workflow_executions SET relayed_at = now() - interval '1 m' WHERE id = %s", execution_id)
    yield execution_id


def rows(platform: Platform, statement: str, *values: Any) -> list[Any]:
    connection = psycopg2.connect(platform.cluster.url("agent_factory"))
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall()) if cursor.description else []
    finally:
        connection.close()


def ended(execution: dict[str, Any]) -> tuple[Any, ...]:
    return execution["status"], execution["error"]["code"], *(step["status"] for step in execution["steps"])


class TestMarkedByHand:
    def test_failed_while_a_step_runs(self, platform: Platform, models: ModelServer) -> None:
        platform.publish(
            workflow("marked_failed", ask("first", "marked-first", "second"), ask("second", "marked-second"))
        )
        models.scripts |= {"marked-first": ["late"], "marked-second": ["never"]}
        models.block_model("marked-first")
        execution_id = platform.execute("marked_failed", {})
        platform.until(lambda: len(models.prompts("marked-first")) == 1)
        mark(platform, "marked_failed", execution_id, "failed")
        # The model has still not answered: it is released by the fixture only.
        execution = platform.wait(execution_id)
        assert ended(execution) == ("failed", "run_ended_by_airflow", "cancelled", "cancelled")
        assert "segment.first" in execution["error"]["message"]
        assert models.prompts("marked-second") == []

    def test_success_while_a_step_waits(self, platform: Platform) -> None:
        platform.publish(waiting("marked_success"))
        execution_id = deferred(platform, "marked_success")
        mark(platform, "marked_success", execution_id, "success")
        assert ended(platform.wait(execution_id)) == ("failed", "run_ended_by_airflow", "cancelled", "cancelled")

    def test_a_parent_hears_of_its_child(self, platform: Platform) -> None:
        platform.publish(waiting("marked_child"))
        call = {"id": "call", "type": "workflow", "config": {"workflow": "marked_child", "input": {}}}
        platform.publish(workflow("marked_parent", call))
        parent = platform.execute("marked_parent", {})
        children: list[Any] = []

        def has_child() -> bool:
            query = "SELECT id::text FROM workflow_executions WHERE parent_execution_id = %s"
            children[:] = rows(platform, query, parent)
            return bool(children)

        platform.until(has_child)
        [[child]] = children
        platform.until(lambda: task_state(platform, "marked_child", child, "pause") == "deferred")
        mark(platform, "marked_child", child, "failed")
        assert ended(platform.wait(parent)) == ("failed", "child_failed", "failed")


class TestGone:
    def test_run_deleted(self, platform: Platform) -> None:
        with queued(platform, "run_deleted") as execution_id:
            path = f"/api/v2/dags/default__run_deleted/dagRuns/{execution_id}"
            assert platform.airflow.delete(path).is_success
            assert reconcile(platform) == "success"
            assert ended(platform.wait(execution_id)) == ("failed", "run_deleted", "cancelled", "cancelled")

    def test_dag_deleted(self, platform: Platform) -> None:
        with queued(platform, "dag_deleted") as execution_id:
            assert platform.airflow.delete("/api/v2/dags/default__dag_deleted").is_success
            assert reconcile(platform) == "success"
            # The file is still published: Airflow may have found it again before the round.
            code = platform.wait(execution_id)["error"]["code"]
            assert code in ("dag_missing", "run_deleted")

    def test_file_is_no_longer_published(self, platform: Platform) -> None:
        with queued(platform, "file_gone") as execution_id:
            rows(
                platform,
                "WITH new AS (INSERT INTO releases (number) SELECT max(number) + 1 FROM releases RETURNING number)"
                " UPDATE release_artifacts SET valid_to = new.number FROM new"
                " WHERE name LIKE 'default__file_gone.%%' AND valid_to IS NULL",
            )
            sentinel = platform.airflow.get("/api/v2/dags/agent_factory__release").json()["file_token"]
            platform.airflow.put(f"/api/v2/parseDagFile/{sentinel}")
            dag = "/api/v2/dags/default__file_gone"
            platform.until(lambda: bool(platform.airflow.get(dag).json()["is_stale"]))
            # By itself: within half a minute the run counts as unattended, and the DAG's own clock comes round.
            assert ended(platform.wait(execution_id)) == ("failed", "dag_missing", "cancelled", "cancelled")


class TestWorkflowTimeout:
    def test_in_each_state(self, platform: Platform, models: ModelServer) -> None:
        settings = {"timeout": "6s"}
        approval = {"id": "pause", "type": "approval", "config": {"title": "May I?"}}
        models.block_model("out-of-time")
        platform.publish(waiting("late_child"))
        call = {"id": "call", "type": "workflow", "config": {"workflow": "late_child", "input": {}}}
        documents = [
            workflow("late_light", ask("ask", "out-of-time"), settings=settings),
            waiting("late_wait", settings=settings),
            workflow("late_approval", approval, settings=settings),
            workflow("late_parent", call, settings=settings),
        ]
        for document in documents:
            platform.publish(document)
        for execution_id in [platform.execute(document["id"], {}) for document in documents]:
            execution = platform.wait(execution_id)
            assert ended(execution)[:2] == ("failed", "workflow_timeout"), execution["workflow_id"]

    def test_in_airflows_queue(self, platform: Platform) -> None:
        with queued(platform, "late_queued") as execution_id:
            late = "UPDATE workflow_executions SET timeout_seconds = 1, accepted_at = relayed_at WHERE id = %s"
            rows(platform, late, execution_id)
            assert reconcile(platform) == "success"
            assert ended(platform.wait(execution_id)) == ("failed", "workflow_timeout", "cancelled", "cancelled")


class TestCancel:
    @pytest.mark.parametrize("kind", ["http_request", "code"])
    def test_reaches_a_running_step(self, platform: Platform, session_web: HttpServer, kind: str) -> None:
        """The step's connection to a server that says nothing is closed, though nobody answers it."""
        path = f"/hang-{kind}"
        reached, closed = threading.Event(), threading.Event()

        def hang(exchange: Exchange) -> None:
            reached.set()
            exchange.wait()
            closed.set()

        session_web.on(path, hang)
        url = session_web.url(path)
        code = f"import urllib.request\n\ndef main(input):\n    urllib.request.urlopen({url!r}, timeout=300)\n"
        hanging: dict[str, dict[str, Any]] = {
            "http_request": {"config": {"url": url}, "timeout": "5m"},
            "code": {"code": code, "config": {"language": "python", "network": "egress"}, "timeout": "5m"},
        }
        workflow_id = f"cancel_{kind}"
        platform.publish(workflow(workflow_id, {"id": "hang", "type": kind, **hanging[kind]}))
        execution_id = platform.execute(workflow_id, {})
        assert reached.wait(60)
        assert platform.http.post(f"/api/v1/executions/{execution_id}/cancel").status_code == 202
        assert closed.wait(60)
        assert ended(platform.wait(execution_id)) == ("cancelled", "cancelled", "cancelled")


class TestUpkeepDag:
    def test_is_seen_and_logs_its_counts(self, platform: Platform) -> None:
        dag = platform.airflow.get(f"/api/v2/dags/{UPKEEP_DAG}").json()
        assert (dag["is_paused"], dag["max_active_runs"]) == (False, 1)
        assert {tag["name"] for tag in dag["tags"]} == {"agent-factory", "upkeep"}
        assert reconcile(platform) == "success"
        logs = (platform.home.logs / "tasks").glob(f"dag_id={UPKEEP_DAG}/*/*/*.log")
        assert any("left_alone: " in log.read_text() for log in logs)
