"""Has Airflow forget its old runs; see docs/upkeep.md."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable

from operators.tasks.upkeep import UpkeepOperator

with DAG(
    dag_id="agent-factory.airflow-database",
    description="airflow db clean, by the control plane.",
    # Not at once when it is first seen, and not only at night: a machine may be off then.
    schedule=CronTriggerTimetable("47 */6 * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=30),
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["agent-factory", "upkeep"],
):
    UpkeepOperator(task_id="clean_airflow_database", job="airflow-database")
