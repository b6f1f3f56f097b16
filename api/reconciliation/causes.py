"""Why an execution was broken off from outside: the error codes and their texts."""

from __future__ import annotations

from collections.abc import Sequence

from operators.execution.records import StepError


def run_ended(state: str, failed_tasks: Sequence[str]) -> StepError:
    """Airflow's run is over and the execution is not."""
    tasks = f"; failed tasks: {', '.join(failed_tasks)}" if failed_tasks else ""
    message = f"Airflow's run ended as {state!r} before the execution did{tasks}"
    return StepError(code="run_ended_by_airflow", message=message)


def run_deleted() -> StepError:
    """Airflow has the DAG, but no longer the run."""
    message = "Airflow's run of the execution was deleted; start the workflow again"
    return StepError(code="run_deleted", message=message)


def dag_missing(dag_id: str) -> StepError:
    """Airflow has lost the DAG, or somebody deleted it."""
    message = f"Airflow no longer has the DAG {dag_id!r}; publish the workflow again"
    return StepError(code="dag_missing", message=message)


def dag_import_error(dag_id: str, reason: str) -> StepError:
    """Airflow cannot load the DAG's file."""
    return StepError(code="dag_import_error", message=f"Airflow cannot load the DAG {dag_id!r}: {reason}")


OUT_OF_TIME = StepError(code="workflow_timeout", message="the workflow took longer than it may")
"""Only where the limit is not known any more; see ``operators/execution/ending.py`` for the usual text."""
