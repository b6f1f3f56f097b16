"""Light segments that begin in the triggerer, on a platform of their own: the same results as by workers."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import httpx
import pytest

from api.platform import client
from api.platform.postgres import locate
from operators.sandbox.processes import descendants
from operators.settings import SEGMENTS_IN_TRIGGERER
from tests.platform.test_airflow_holds_no_tenant_text import logs_with, rows_with
from tests.platform.test_running_again import clear
from tests.stubs.model_server import ModelServer
from tests.support import MODEL_KEY, Platform, airflow_client, temporary_home

pytestmark = pytest.mark.platform

MARKER = "zq9triggerer"


@pytest.fixture(scope="module")
def triggering(session_models: ModelServer) -> Iterator[Platform]:
    with temporary_home() as home, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", MODEL_KEY)
        patch.setenv("OPENAI_BASE_URL", session_models.openai_url)
        patch.setenv(SEGMENTS_IN_TRIGGERER, "1")
        running = client.start(home, detach=False, restart=True)
        try:
            running.wait_ready(lambda text: print(f"platform: {text}", flush=True))
            state = home.read_state()
            headers = {"Authorization": f"Bearer {state['api_token']}"}
            with (
                httpx.Client(base_url=home.api_url, headers=headers, timeout=60) as http,
                airflow_client(home) as airflow,
            ):
                yield Platform(home, state, http, airflow, locate(home.path, home.credentials().postgres_password))
        finally:
            running.stop()


def workflow(name: str, *models: str) -> dict[str, Any]:
    tasks: list[dict[str, Any]] = [
        {
            "id": model.replace("-", "_"),
            "type": "ai_inference",
            "config": {"model": f"openai:{model}", "prompt": MARKER},
        }
        for model in models
    ]
    for task, after in pairwise(tasks):
        task["next"] = [after["id"]]
    return {"id": name, "name": MARKER, "version": "1", "trigger": {"type": "manual"}, "tasks": tasks}


def task(platform: Platform, name: str, execution_id: str) -> dict[str, Any]:
    path = f"/api/v2/dags/default__{name}/dagRuns/{execution_id}/taskInstances"
    [found] = platform.airflow.get(path).json()["task_instances"]
    return dict(found)


def test_without_a_worker(triggering: Platform, models: ModelServer) -> None:
    models.scripts |= {"tr-one": [f"{MARKER} 1"], "tr-two": ["2"]}
    triggering.publish(workflow("light", "tr-one", "tr-two"))
    execution_id = triggering.execute("light", {})
    execution = triggering.wait(execution_id)
    assert (execution["status"], execution["output"]) == ("success", {"tr_two": {"text": "2"}})
    assert triggering.airflow_run_state("default__light", execution_id) == "success"
    found = task(triggering, "light", execution_id)
    assert (found["state"], found["try_number"], found["pid"], found["queued_when"]) == ("success", 1, None, None)
    assert rows_with(triggering, MARKER) == []
    assert logs_with(triggering, MARKER) == []


def test_failed_then_cleared(triggering: Platform, models: ModelServer) -> None:
    models.scripts |= {"tr-good": ["good"], "tr-bad": [{"error": "down"}, "fine"]}
    triggering.publish(workflow("repaired", "tr-good", "tr-bad"))
    execution_id = triggering.execute("repaired", {})
    assert triggering.wait(execution_id)["status"] == "failed"
    assert triggering.airflow_run_state("default__repaired", execution_id) == "failed"
    assert task(triggering, "repaired", execution_id)["try_number"] == 1
    assert clear(triggering, "repaired", execution_id)["output"] == {"tr_bad": {"text": "fine"}}
    assert [len(models.prompts(name)) for name in ("tr-good", "tr-bad")] == [1, 2]


def test_the_triggerer_is_killed(triggering: Platform, models: ModelServer) -> None:
    models.scripts |= {"tr-first": ["first"] * 2, "tr-lost": ["lost", "second"], "tr-last": ["last"] * 2}
    triggering.publish(workflow("killed", "tr-first", "tr-lost", "tr-last"))
    models.block_model("tr-lost")
    execution_id = triggering.execute("killed", {})
    triggering.until(lambda: len(models.prompts("tr-lost")) == 1)
    triggerer = triggering.home.read_state()["children"]["airflow-triggerer"]["pid"]
    for pid in (*descendants(triggerer), triggerer):
        os.kill(pid, signal.SIGKILL)
    models.release()
    execution = triggering.wait(execution_id, 180)
    assert (execution["status"], execution["output"]) == ("success", {"tr_last": {"text": "last"}})
    assert [len(models.prompts(name)) for name in ("tr-first", "tr-lost", "tr-last")] == [1, 2, 1]
    assert triggering.airflow_run_state("default__killed", execution_id) == "success"
