"""Removes the old logs of Airflow's tasks; see docs/upkeep.md."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable

from operators.tasks.old_logs import OldLogsOperator

with DAG(
    dag_id="agent-factory.old-logs",
    description="Old logs of tasks are removed from the worker's disk.",
    # Not at once when it is first seen, and not only at night: a machine may be off then.
    schedule=CronTriggerTimetable("17 */6 * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=30),
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["agent-factory", "upkeep"],
):
    OldLogsOperator(task_id="remove_old_logs")
