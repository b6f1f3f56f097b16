"""Makes the monthly partitions of the control plane's tables ahead; see docs/upkeep.md."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from operators.tasks.upkeep import UpkeepOperator

with DAG(
    dag_id="agent-factory.partitions",
    description="Monthly partitions of executions, made ahead.",
    schedule="7 1 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=30),
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["agent-factory", "upkeep"],
):
    UpkeepOperator(task_id="make_partitions", job="partitions")
