"""Removes what the control plane need not keep any longer; see docs/upkeep.md."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from operators.tasks.upkeep import UpkeepOperator

with DAG(
    dag_id="agent-factory.retention",
    description="Old executions and other old rows are removed.",
    schedule="27 2 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=30),
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["agent-factory", "upkeep"],
):
    UpkeepOperator(task_id="keep_retention", job="retention")
