"""Our own DAGs: one for each job of upkeep, harmless to Airflow's history and to workflows."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from airflow.sdk import DAG
from airflow.sdk.definitions._internal.contextmanager import DagContext

import dags
from api.upkeep.jobs import JOBS
from operators.tasks.old_logs import OldLogsOperator
from operators.tasks.upkeep import UpkeepOperator
from plugins.listener import is_ours

pytestmark = pytest.mark.unit

FILES = sorted(path for path in Path(next(iter(dags.__path__))).glob("*.py") if path.name != "__init__.py")


def dag_of(file: Path) -> DAG:
    """Load a file as Airflow's DAG processor does."""
    DagContext.autoregistered_dags.clear()
    DagContext.current_autoregister_module_name = __name__
    try:
        runpy.run_path(str(file))
        [(dag, _)] = DagContext.autoregistered_dags
    finally:
        DagContext.current_autoregister_module_name = None
        DagContext.autoregistered_dags.clear()
    return dag


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_runs_one_at_a_time_and_does_one_job(file: Path) -> None:
    dag = dag_of(file)
    assert dag.dag_id == f"agent-factory.{file.stem.replace('_', '-')}"
    assert (dag.catchup, dag.max_active_runs, set(dag.tags)) == (False, 1, {"agent-factory", "upkeep"})
    assert dag.dagrun_timeout is not None
    [task] = dag.tasks
    if isinstance(task, UpkeepOperator):
        assert task.job in JOBS
    else:
        assert isinstance(task, OldLogsOperator)


def test_every_job_has_a_dag() -> None:
    assert {task.job for file in FILES for task in dag_of(file).tasks if isinstance(task, UpkeepOperator)} == set(JOBS)


def test_the_listener_passes_over_them() -> None:
    class Run:
        dag_id = "agent-factory.reconcile"
        dag = None

    assert not is_ours(Run())  # type: ignore[arg-type]
