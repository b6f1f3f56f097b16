"""A worker killed in the middle of a segment: the run ends right and no journaled model call is made again."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from operators.sandbox.processes import descendants
from tests.stubs.model_server import ModelServer
from tests.support import Platform

pytestmark = pytest.mark.platform


def workflow(workflow_id: str) -> dict[str, Any]:
    def ask(name: str, *after: str) -> dict[str, Any]:
        config = {"model": f"openai:{workflow_id}-{name}", "prompt": "Go on."}
        return {"id": name, "type": "ai_inference", "config": config, "next": list(after)}

    return {
        "id": workflow_id, "name": "Killed", "version": "1", "trigger": {"type": "manual", "config": {}},
        "tasks": [ask("first", "second"), ask("second", "third"), ask("third")],
    }  # fmt: skip


def busy_worker(platform: Platform, workflow_id: str, execution_id: str) -> tuple[int, list[int]]:
    """Return the LocalExecutor worker that runs an execution's only task, and the processes below it."""
    path = f"/api/v2/dags/default__{workflow_id}/dagRuns/{execution_id}/taskInstances"
    [task] = platform.airflow.get(path).raise_for_status().json()["task_instances"]
    scheduler = platform.home.read_state()["children"]["airflow-scheduler"]["pid"]
    for pid in descendants(scheduler):
        # Other workers may run a task of upkeep.
        if f"LocalExecutor: {task['id']}".encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid, descendants(pid)
    raise AssertionError("no worker of the scheduler runs the task")


@pytest.mark.parametrize("victim", ["task", "worker"])
def test_killed(victim: str, platform: Platform, models: ModelServer) -> None:
    name = f"killed_{victim}"
    platform.publish(workflow(name))
    models.scripts |= {f"{name}-{step}": [step, step] for step in ("first", "second", "third")}
    models.scripts[f"{name}-second"] = ["lost", "second"]
    models.block_model(f"{name}-second")
    execution_id = platform.execute(name, {})
    platform.until(lambda: len(models.prompts(f"{name}-second")) == 1)
    worker, tasks = busy_worker(platform, name, execution_id)
    for pid in [*tasks, *([worker] if victim == "worker" else [])]:
        os.kill(pid, signal.SIGKILL)
    models.release()
    execution = platform.wait(execution_id)
    assert execution["status"] == "success"
    assert execution["output"] == {"third": {"text": "third"}}
    assert {step: len(models.prompts(f"{name}-{step}")) for step in ("first", "second", "third")} == {
        "first": 1, "second": 2, "third": 1,
    }  # fmt: skip
