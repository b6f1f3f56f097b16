"""The embedded platform's executor holds to ``parallelism``."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from airflow.executors.workloads import ExecuteTask
from airflow.utils.state import TaskInstanceState

from plugins.local_executor import BoundedLocalExecutor

pytestmark = pytest.mark.unit


@pytest.fixture
def executor(monkeypatch: pytest.MonkeyPatch) -> Iterator[BoundedLocalExecutor]:
    """An executor of two workers that take nothing."""
    monkeypatch.setattr(BoundedLocalExecutor, "_spawn_worker", lambda self: None)
    executor = BoundedLocalExecutor(parallelism=2)
    executor.start()
    yield executor
    executor.end()


def task(number: int, priority: int) -> ExecuteTask:
    return ExecuteTask.model_validate(
        {
            "token": "",
            "ti": {
                "id": uuid.UUID(int=number),
                "dag_version_id": uuid.UUID(int=0),
                "task_id": f"t{number}",
                "dag_id": "d",
                "run_id": "r",
                "try_number": 1,
                "map_index": -1,
                "pool_slots": 1,
                "queue": "default",
                "priority_weight": priority,
            },
            "dag_rel_path": "d.py",
            "bundle_info": {"name": "b", "version": None},
            "log_path": None,
        }
    )


def test_tasks_wait_for_a_free_worker_the_first_by_priority(executor: BoundedLocalExecutor) -> None:
    tasks = [task(1, -30), task(2, -10), task(3, -20)]
    executor.queued_tasks.update({each.key: each for each in tasks})
    executor.heartbeat()
    assert list(executor.queued_tasks) == [tasks[0].key]
    assert (executor.slots_occupied, executor.slots_available) == (3, -1)
    executor.heartbeat()
    assert list(executor.queued_tasks) == [tasks[0].key]

    executor.result_queue.put((tasks[1].key, TaskInstanceState.SUCCESS, None))
    executor.heartbeat()
    executor.heartbeat()
    assert not executor.queued_tasks
    assert executor.running == {tasks[0].key, tasks[2].key}
