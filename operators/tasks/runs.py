"""What the control plane is told of a run of Airflow: its kind, its time and an id; never its ``conf``."""

from __future__ import annotations

from typing import Any

from operators.execution.records import RunStart

SCHEDULED = ("scheduled", "backfill")
MAX_INPUT_ID = 100


def run_start(dag_run: Any) -> RunStart | None:
    """Return how a run began; None where the run tells no time.

    :param dag_run: ``context["dag_run"]``.
    """
    # A schedule's runs have no interval: their logical date is the time they are made for.
    due_at = getattr(dag_run, "logical_date", None) or getattr(dag_run, "run_after", None)
    if due_at is None:
        return None
    conf = dag_run.conf if isinstance(dag_run.conf, dict) else {}
    input_id = conf.get("input_id")
    return RunStart(
        scheduled=dag_run.run_type in SCHEDULED,
        due_at=due_at,
        # Whatever else stands there is no id of ours, and is refused as one.
        input_id=None if input_id is None else str(input_id)[:MAX_INPUT_ID],
        dag_id=getattr(dag_run, "dag_id", None),
    )
