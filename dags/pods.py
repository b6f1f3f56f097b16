"""Upkeep, every minute: pods whose execution is over are removed. See docs/pods.md."""

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from operators.tasks.upkeep import UpkeepOperator

with DAG(
    dag_id="agent-factory.pods",
    schedule=timedelta(minutes=1),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=5),
    # The next run comes soon enough.
    default_args={"retries": 0},
    tags=["agent-factory", "upkeep"],
):
    UpkeepOperator(task_id="pods", job="pods")
