"""A wait holds no worker, and outlives the triggerer."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from tests.support import Platform

pytestmark = pytest.mark.platform

WORKFLOW: dict[str, Any] = {
    "id": "patient", "name": "Patient", "version": "1", "trigger": {"type": "manual", "config": {}},
    "tasks": [
        {"id": "pause", "type": "wait", "config": {"seconds": "{{ input.seconds }}"}, "next": ["after"]},
        {"id": "after", "type": "transform", "config": {"set": {"waited": "{{ pause.output.waited_seconds }}"}}},
    ],
}  # fmt: skip


def airflow_task(platform: Platform, execution_id: str) -> dict[str, Any]:
    path = f"/api/v2/dags/default__patient/dagRuns/{execution_id}/taskInstances/pause"
    task: dict[str, Any] = platform.airflow.get(path).json()
    return task


def test_the_triggerer_is_killed(platform: Platform) -> None:
    platform.publish(WORKFLOW)
    execution_id = platform.execute("patient", {"seconds": 8})
    platform.until(lambda: airflow_task(platform, execution_id).get("state") == "deferred")
    triggerer = platform.home.read_state()["children"]["airflow-triggerer"]["pid"]
    os.kill(triggerer, signal.SIGKILL)
    execution = platform.wait(execution_id)
    assert (execution["status"], execution["output"]) == ("success", {"after": {"waited": 8}})
    assert platform.airflow_run_state("default__patient", execution_id) == "success"
