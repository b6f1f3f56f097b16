"""A call that pins a version of a workflow runs that one, also while a newer one is current."""

from __future__ import annotations

from typing import Any

import psycopg2
import pytest

from tests.platform.test_releases import collect
from tests.support import Platform

pytestmark = pytest.mark.platform

SCORE_V1 = "default__pin_score-v1"


def score(label: str, *extra: dict[str, Any]) -> dict[str, Any]:
    task = {"id": "say", "type": "transform", "config": {"set": {"said": f"{label} {{{{ input.name }}}}"}}}
    return {
        "id": "pin_score", "name": "Score", "version": label, "trigger": {"type": "workflow"},
        "tasks": [task, *extra], "output": "{{ say.output.said }}",
    }  # fmt: skip


def caller(**versions: Any) -> dict[str, Any]:
    tasks = [
        {"id": name, "type": "workflow", "config": {"workflow": "pin_score", "input": {"name": name}} | version}
        for name, version in versions.items()
    ]
    return {"id": "pin_caller", "name": "Caller", "version": "1", "trigger": {"type": "manual"}, "tasks": tasks}


def forget(platform: Platform) -> None:
    """Remove the executions, as retention does one day."""
    connection = psycopg2.connect(platform.cluster.url("agent_factory"))
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(
                "DELETE FROM workflow_executions e USING agents a WHERE (a.organization_id, a.id) ="
                " (e.organization_id, e.agent_id) AND a.workflow_id LIKE 'pin_%'"
            )
    finally:
        connection.close()


def is_stale(platform: Platform) -> bool:
    return bool(platform.airflow.get(f"/api/v2/dags/{SCORE_V1}").json()["is_stale"])


def test_a_pinned_version_runs_on_its_own_dag_until_nobody_needs_it(platform: Platform) -> None:
    for label in ("stable", "next"):
        platform.publish(score(label))
    platform.publish(caller(first={"version": 1}, second={"version": "stable"}, newest={}))
    execution = platform.wait(platform.execute("pin_caller", {}))
    assert (execution["status"], execution["output"]) == (
        "success",
        {"first": "stable first", "second": "stable second", "newest": "next newest"},
    )
    runs = platform.airflow.get(f"/api/v2/dags/{SCORE_V1}/dagRuns").json()
    assert [run["state"] for run in runs["dag_runs"]] in (["success"] * 2, ["success", "running"], ["running"] * 2)
    children = [run["dag_run_id"] for run in runs["dag_runs"]]
    for child in children:
        assert platform.airflow_run_state(SCORE_V1, child) == "success"
        shown = platform.http.get(f"/api/v1/executions/{child}").json()
        assert (shown["version"], f"/dags/{SCORE_V1}/runs/{child}" in shown["airflow_url"]) == (1, True)
    # One of them runs again, on its own version.
    assert platform.http.post(f"/api/v1/executions/{children[0]}/rerun").is_success
    again = platform.wait(children[0])
    assert (again["status"], again["version"], again["epoch"]) == ("success", 1, 1)
    # Nobody pins it any more: its DAG goes, and comes back for the next who does.
    platform.publish(caller(newest={}))
    forget(platform)
    collect(platform)
    platform.publish(score("later"))
    # Airflow looks for DAGs that are gone once a minute.
    platform.until(lambda: is_stale(platform), seconds=180)
    platform.publish(caller(first={"version": 1}))
    assert platform.wait(platform.execute("pin_caller", {}))["output"] == {"first": "stable first"}
    assert not is_stale(platform)
