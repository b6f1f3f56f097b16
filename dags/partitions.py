"""Makes the monthly partitions of the control plane's tables ahead; see docs/upkeep.md."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable

from operators.tasks.upkeep import UpkeepOperator

with DAG(
    dag_id="agent-factory.partitions",
    description="Monthly partitions of executions, made ahead.",
    # Not at once when it is first seen, and not only at night: a machine may be off then.
    schedule=CronTriggerTimetable("7 */6 * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=30),
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["agent-factory", "upkeep"],
):
    UpkeepOperator(task_id="make_partitions", job="partitions")
