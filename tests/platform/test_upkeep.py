"""Our own upkeep DAGs: Airflow shows them, and what they do ends well."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2
import pytest

from api.platform.airflow import DAGS, UPKEEP_BUNDLE
from operators.settings import FREQUENT_DAGS
from tests.support import Platform

pytestmark = pytest.mark.platform

DAG_IDS = {
    "agent-factory.airflow-database",
    "agent-factory.old-logs",
    "agent-factory.partitions",
    "agent-factory.retention",
}


def run(platform: Platform, dag_id: str) -> str:
    """Run a DAG, see it succeed, and return the log of its task."""
    started = platform.airflow.post(f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": None})
    assert started.is_success, started.text
    run_id = started.json()["dag_run_id"]
    state = platform.airflow_run_state(dag_id, quote(run_id, safe=""))
    folder = platform.home.logs / "tasks" / f"dag_id={dag_id}" / f"run_id={run_id}"
    log = "\n".join(file.read_text() for file in folder.rglob("*.log"))
    assert state == "success", log
    return log


def in_airflow(platform: Platform, statement: str, *values: Any) -> list[Any]:
    """Run a statement in Airflow's database; return its rows."""
    connection = psycopg2.connect(platform.cluster.url("airflow"))
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


@pytest.fixture(scope="module", autouse=True)
def loaded(platform: Platform) -> None:
    """Airflow has parsed them all."""
    platform.until(lambda: all(platform.airflow.get(f"/api/v2/dags/{dag_id}").is_success for dag_id in DAG_IDS))


def test_they_are_seen_and_nothing_fails_to_load(platform: Platform) -> None:
    dags = platform.airflow.get("/api/v2/dags", params={"tags": "upkeep", "limit": 100}).json()["dags"]
    by_id = {dag["dag_id"]: dag for dag in dags}
    assert by_id.keys() >= DAG_IDS
    for dag in by_id.values():
        assert dag["dag_id"].startswith("agent-factory.")
        assert (dag["is_paused"], dag["max_active_runs"], dag["bundle_name"]) == (False, 1, UPKEEP_BUNDLE)
        assert {tag["name"] for tag in dag["tags"]} == {"agent-factory", "upkeep"}
    files = {Path(dag["relative_fileloc"]).name for dag in dags}
    assert files == {path.name for path in DAGS.glob("*.py")} - {"__init__.py"}
    assert platform.airflow.get("/api/v2/importErrors").json()["import_errors"] == []


def test_partitions_and_retention_log_their_counts(platform: Platform) -> None:
    assert "made: 0" in run(platform, "agent-factory.partitions")
    log = run(platform, "agent-factory.retention")
    for count in ("months_dropped: 0", "executions: 0", "received_events: 0"):
        assert count in log


@pytest.fixture
def paused(platform: Platform) -> Iterator[str]:
    """A DAG whose runs the scheduler leaves as they are."""
    dag_id = "agent-factory.retention"
    for pause in (True, False):
        changed = platform.airflow.patch(f"/api/v2/dags/{dag_id}", json={"is_paused": pause})
        assert changed.is_success, changed.text
        if pause:
            yield dag_id


def test_airflow_forgets_old_runs_but_none_that_goes_on(platform: Platform, paused: str) -> None:
    run(platform, "agent-factory.partitions")
    add = (
        "INSERT INTO dag_run (dag_id, run_id, run_type, state, start_date, run_after, clear_number, span_status)"
        " VALUES (%s, %s, 'manual', %s, now() - CAST(%s AS interval), now(), 0, 'ended')"
    )
    in_airflow(platform, add, "agent-factory.partitions", "left-old", "success", "31 days")
    in_airflow(platform, add, "agent-factory.partitions", "left-young", "success", "29 days")
    in_airflow(platform, add, paused, "left-beside", "success", "31 days")
    in_airflow(platform, add, paused, "left-waits", "running", "31 days")
    kept = {"left-beside", "left-waits", "left-young"}
    for dag_id in FREQUENT_DAGS:
        if platform.airflow.get(f"/api/v2/dags/{dag_id}").is_success:
            in_airflow(platform, add, dag_id, "left-day", "success", "25 hours")
            in_airflow(platform, add, dag_id, "left-hours", "success", "23 hours")
            kept.add("left-hours")
    assert "dags_left_alone: 1" in run(platform, "agent-factory.airflow-database")
    left = in_airflow(platform, "SELECT run_id FROM dag_run WHERE starts_with(run_id, 'left-')")
    in_airflow(platform, "DELETE FROM dag_run WHERE starts_with(run_id, 'left-')")
    assert {row[0] for row in left} == kept
    archives = in_airflow(platform, "SELECT tablename FROM pg_tables WHERE starts_with(tablename, '_airflow_deleted')")
    assert archives == []


def test_old_logs_go(platform: Platform) -> None:
    folder = platform.home.logs / "tasks" / "dag_id=left" / "run_id=old"
    folder.mkdir(parents=True)
    old, new = folder / "attempt=1.log", folder.with_name("run_id=new") / "attempt=1.log"
    new.parent.mkdir()
    for file in (old, new):
        file.write_text("x")
    month_ago = old.stat().st_mtime - 31 * 86_400
    os.utime(old, (month_ago, month_ago))
    assert "files removed: 1" in run(platform, "agent-factory.old-logs")
    assert not folder.exists()
    assert new.exists()
