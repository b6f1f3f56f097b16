"""Removes the old logs of Airflow's tasks; see docs/upkeep.md."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from operators.tasks.old_logs import OldLogsOperator

with DAG(
    dag_id="agent-factory.old-logs",
    description="Old logs of tasks are removed from the worker's disk.",
    schedule="17 4 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=30),
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["agent-factory", "upkeep"],
):
    OldLogsOperator(task_id="remove_old_logs")
