"""Executions that run again in real Airflow: retried, rerun, cleared; what is called again, and under which key."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from tests.stubs.http_server import HttpServer
from tests.stubs.model_server import ModelServer
from tests.support import Platform

pytestmark = pytest.mark.platform

BUSY = {"status": 503, "headers": {}, "text": "busy"}
DONE = {"status": 200, "headers": {}, "text": "done"}
TOKEN = "import secrets\n\n\ndef main(inputs):\n    return {'token': secrets.token_hex(8)}\n"
"""Another output each time it runs."""


def workflow(workflow_id: str, *tasks: dict[str, Any], **extra: Any) -> dict[str, Any]:
    for task, after in pairwise(tasks):
        task["next"] = [after["id"]]
    document = {"id": workflow_id, "name": workflow_id, "version": "1", "trigger": {"type": "manual"}}
    return {**document, "tasks": list(tasks), **extra}


def ask(name: str, model: str, attempts: int = 1) -> dict[str, Any]:
    config = {"model": f"openai:{model}", "prompt": "Go on."}
    retry = {"attempts": attempts, "backoff_seconds": 0.01}
    return {"id": name, "type": "ai_inference", "config": config, "retry": retry}


def charge(url: str) -> dict[str, Any]:
    return {"id": "charge", "type": "http_request", "config": {"method": "POST", "url": url}, "retry": {"attempts": 1}}


def token() -> dict[str, Any]:
    return {"id": "token", "type": "code", "code": TOKEN, "config": {"language": "python"}}


def keys(web: HttpServer, name: str) -> list[str]:
    """The idempotency keys of the requests so far, without the execution's id."""
    seen = [exchange for exchange in web.requests if exchange.target == f"/{name}"]
    return [exchange.headers["idempotency-key"].partition(":")[2] for exchange in seen]


def again(platform: Platform, execution_id: str, how: str) -> dict[str, Any]:
    """Run an execution again and wait for its end."""
    response = platform.http.post(f"/api/v1/executions/{execution_id}/{how}")
    assert (response.status_code, response.json().get("status")) == (202, "pending"), response.text
    return platform.wait(execution_id)


def clear(platform: Platform, workflow_id: str, execution_id: str) -> dict[str, Any]:
    """Clear a run in Airflow as its UI does, and wait until the execution has ended once more."""
    path = f"/api/v1/executions/{execution_id}"
    before = platform.http.get(path).json()
    run = f"/api/v2/dags/default__{workflow_id}/dagRuns/{execution_id}"
    # Airflow clears a run that has not ended too, but then whether the old tasks still end is a matter of luck.
    platform.airflow_run_state(f"default__{workflow_id}", execution_id)
    response = platform.airflow.post(f"{run}/clear", json={"dry_run": False})
    assert response.is_success, response.text
    platform.until(lambda: platform.http.get(path).json()["reopened_at"] != before["reopened_at"], 120)
    after = platform.wait(execution_id)
    assert platform.airflow_run_state(f"default__{workflow_id}", execution_id) == after["status"]
    return after


def outputs(execution: dict[str, Any]) -> dict[str, Any]:
    return {step["id"]: step["output"] for step in execution["steps"]}


def test_retried_and_rerun(platform: Platform, models: ModelServer, session_web: HttpServer) -> None:
    url = session_web.script("again_charge", [BUSY, DONE, DONE])
    models.scripts |= {"again-one": ["1", "2"], "again-two": [{"error": "down"}, {"error": "down"}, "2"]}
    tasks = [ask("one", "again-one"), ask("two", "again-two", 2), charge(url), token()]
    platform.publish(workflow("again", *tasks))
    execution_id = platform.execute("again", {})

    def calls() -> tuple[int, int, int]:
        return *(len(models.prompts(f"again-{name}")) for name in ("one", "two")), len(
            keys(session_web, "again_charge")
        )

    assert platform.wait(execution_id)["steps"][1]["status"] == "failed"
    assert calls() == (1, 2, 0)

    failed = again(platform, execution_id, "retry")
    assert [step["status"] for step in failed["steps"]] == ["success", "success", "failed", "upstream_failed"]
    assert calls() == (1, 3, 1)

    platform.publish(workflow("again", *tasks, ask("three", "again-three")))
    first = again(platform, execution_id, "retry")
    assert (first["status"], first["version"], first["epoch"]) == ("success", 1, 0)
    assert calls() == (1, 3, 2)
    refused = platform.http.post(f"/api/v1/executions/{execution_id}/retry")
    assert (refused.status_code, refused.json()["code"]) == (409, "execution_succeeded")

    second = again(platform, execution_id, "rerun?from=charge")
    assert (second["status"], second["version"], second["epoch"]) == ("success", 1, 1)
    assert calls() == (1, 3, 3)
    assert outputs(second)["two"] == outputs(first)["two"]
    assert outputs(second)["token"] != outputs(first)["token"]
    assert keys(session_web, "again_charge") == ["0:charge", "0:charge", "1:charge"]
    assert platform.airflow_run_state("default__again", execution_id) == "success"

    # A new run would be of the newer version.
    assert platform.airflow.delete(f"/api/v2/dags/default__again/dagRuns/{execution_id}").status_code == 204
    gone = again(platform, execution_id, "rerun")
    assert (gone["status"], gone["error"]["code"]) == ("failed", "run_deleted")
    assert calls() == (1, 3, 3)


def test_a_step_whose_attempts_are_used_up(platform: Platform, models: ModelServer) -> None:
    models.scripts["used-up"] = [{"error": "down"}] * 3 + ["never"]
    after = {"id": "after", "type": "transform", "config": {"set": {"x": 1}}}
    platform.publish(workflow("used_up", ask("one", "used-up", 3), after))
    execution_id = platform.execute("used_up", {})
    execution = platform.wait(execution_id)
    assert (execution["status"], [step["status"] for step in execution["steps"]]) == (
        "failed", ["failed", "upstream_failed"],
    )  # fmt: skip
    assert (execution["steps"][0]["attempts"], len(models.prompts("used-up"))) == (3, 3)
    assert execution["error"]["code"] == execution["steps"][0]["error"]["code"]
    # Airflow's own retries are for lost workers: it does not begin the step's attempts anew.
    assert platform.airflow_run_state("default__used_up", execution_id) == "failed"
    path = f"/api/v2/dags/default__used_up/dagRuns/{execution_id}/taskInstances"
    [task] = platform.airflow.get(path).json()["task_instances"]
    assert (task["state"], task["try_number"]) == ("failed", 1)


def test_cleared_and_asked_again(platform: Platform, models: ModelServer, session_web: HttpServer) -> None:
    models.scripts["cleared-one"] = ["1", "2"]
    approval = {"id": "allow", "type": "approval", "config": {"title": "Go on?"}}
    tasks = ask("one", "cleared-one"), approval, token(), charge(session_web.script("clear_charge", [BUSY, DONE, DONE]))
    platform.publish(workflow("cleared_run", *tasks, settings={"fusion": "off"}))
    execution_id = platform.execute("cleared_run", {})
    platform.decide(execution_id, {"allow": {"decision": "approve", "by": "ann"}})
    failed = platform.wait(execution_id)
    assert failed["status"] == "failed"

    repaired = clear(platform, "cleared_run", execution_id)
    assert repaired["status"] == "success"
    assert repaired["steps"][:3] == failed["steps"][:3]
    assert (len(models.prompts("cleared-one")), keys(session_web, "clear_charge")) == (1, ["0:charge", "0:charge"])

    replayed = clear(platform, "cleared_run", execution_id)
    assert (replayed["status"], replayed["steps"]) == ("success", repaired["steps"])
    assert (len(models.prompts("cleared-one")), keys(session_web, "clear_charge")) == (1, ["0:charge", "0:charge"])

    # The approval is asked anew; a deleted run gets a successor.
    platform.airflow_run_state("default__cleared_run", execution_id)
    assert platform.airflow.delete(f"/api/v2/dags/default__cleared_run/dagRuns/{execution_id}").status_code == 204
    assert platform.http.post(f"/api/v1/executions/{execution_id}/rerun?from=allow").status_code == 202
    platform.decide(execution_id, {"allow": {"decision": "approve", "by": "bob"}})
    rerun = platform.wait(execution_id)
    assert (rerun["status"], outputs(rerun)["allow"]["by"]) == ("success", "bob")
    assert rerun["steps"][1]["approval_id"] != replayed["steps"][1]["approval_id"]
    assert outputs(rerun)["token"] != outputs(replayed)["token"]
    assert (len(models.prompts("cleared-one")), keys(session_web, "clear_charge")[2:]) == (1, ["1:charge"])
    assert platform.airflow_run_state("default__cleared_run", execution_id) == "success"


def test_a_child_that_failed_is_started_anew(platform: Platform, models: ModelServer) -> None:
    models.scripts["again-child"] = [{"error": "down"}, "fine", "finer"]
    platform.publish(workflow("again_child", ask("one", "again-child"), trigger={"type": "workflow", "config": {}}))
    call = {"id": "call", "type": "workflow", "config": {"workflow": "again_child", "input": {}}}
    platform.publish(workflow("again_parent", call))
    execution_id = platform.execute("again_parent", {})
    assert platform.wait(execution_id)["steps"][0]["error"]["code"] == "child_failed"
    assert again(platform, execution_id, "retry")["output"] == {"call": {"one": {"text": "fine"}}}
    assert again(platform, execution_id, "rerun?from=call")["output"] == {"call": {"one": {"text": "finer"}}}
