"""Upkeep, every half minute: executions and Airflow's runs come to the same end. See docs/ends.md."""

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from operators.tasks.upkeep import UpkeepOperator

with DAG(
    dag_id="agent-factory.reconcile",
    schedule=timedelta(seconds=30),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=5),
    # The next run comes soon enough.
    default_args={"retries": 0},
    tags=["agent-factory", "upkeep"],
):
    UpkeepOperator(task_id="reconcile", job="reconcile")
