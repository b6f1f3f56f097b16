"""Approvals in real Airflow: answered by our API, answered in Airflow, over time; no worker waits, nothing leaks."""

from __future__ import annotations

import os
import re
import signal
from typing import Any

import pytest

from tests.platform.test_airflow_holds_no_tenant_text import logs_with, rows_with
from tests.support import Platform

pytestmark = pytest.mark.platform

MARKER = "qk4approval"
NOBODY = "alice-" + MARKER


def workflow(workflow_id: str, **config: Any) -> dict[str, Any]:
    """An approval whose routes lead to ``yes`` and ``no``."""
    config = {
        "title": "Pay {{ input.amount }}? " + MARKER,
        "body": "**Really** " + MARKER,
        "routes": {"approve": "yes", "reject": "no"},
        **config,
    }
    return {
        "id": workflow_id, "name": "Approve " + MARKER, "version": "1", "trigger": {"type": "manual", "config": {}},
        "tasks": [
            {"id": "ask", "type": "approval", "config": config},
            {"id": "yes", "type": "transform", "config": {"set": {"by": "{{ ask.output.by }}"}}},
            {"id": "no", "type": "transform", "config": {"set": {"by": "{{ ask.output.by }}"}}},
        ],
    }  # fmt: skip


def start(platform: Platform, workflow_id: str, **config: Any) -> tuple[str, str]:
    """Start a workflow and wait until it asks; return the ids of execution and approval."""
    platform.publish(workflow(workflow_id, **config))
    execution_id = platform.execute(workflow_id, {"amount": 7})

    def asks() -> bool:
        state = task(platform, workflow_id, execution_id).get("state")
        if state in ("failed", "up_for_retry", "success"):
            pytest.fail(f"{state}: {log_of(platform, execution_id)}")
        return state == "deferred"

    platform.until(asks, 120)
    shown = platform.http.get(f"/api/v1/executions/{execution_id}").json()
    ask = next(step for step in shown["steps"] if step["id"] == "ask")
    assert ask["status"] == "running"
    return execution_id, ask["approval_id"]


def log_of(platform: Platform, execution_id: str) -> str:
    """What the tasks of a run have logged, for the message of a failed test."""
    logs = (platform.home.logs / "tasks").rglob("*.log")
    return "\n".join(path.read_text() for path in logs if execution_id in str(path))


def task_path(workflow_id: str, execution_id: str) -> str:
    return f"/api/v2/dags/default__{workflow_id}/dagRuns/{execution_id}/taskInstances/ask"


def task(platform: Platform, workflow_id: str, execution_id: str) -> dict[str, Any]:
    found: dict[str, Any] = platform.airflow.get(task_path(workflow_id, execution_id)).json()
    return found


def required_actions(platform: Platform, execution_id: str) -> list[dict[str, Any]]:
    """What Airflow's UI shows as required actions of a run."""
    query: dict[str, Any] = {"response_received": False, "state": ["deferred", "awaiting_input"], "limit": 100}
    response = platform.airflow.get("/api/v2/dags/~/dagRuns/~/hitlDetails", params=query)
    assert response.status_code == 200, response.text
    return [each for each in response.json()["hitl_details"] if each["task_instance"]["dag_run_id"] == execution_id]


def answer_in_airflow(platform: Platform, workflow_id: str, execution_id: str, option: str) -> None:
    # Airflow takes a task that is resumed before the scheduler has heard of its deferral for lost, and tries it again;
    # people are not so quick. What it has heard it says in its log only.
    heard = re.compile(rf"Received executor event with state success .*task_id='ask', run_id='{execution_id}'")
    log = platform.home.logs / "airflow-scheduler.log"
    platform.until(lambda: heard.search(log.read_text()) is not None)
    platform.until(lambda: task(platform, workflow_id, execution_id)["triggerer_job"] is not None)
    path = task_path(workflow_id, execution_id) + "/-1/hitlDetails"
    response = platform.airflow.patch(path, json={"chosen_options": [option], "params_input": {}})
    assert response.status_code == 200, response.text


def decide(platform: Platform, approval_id: str, **body: Any) -> None:
    response = platform.http.post(f"/api/v1/approvals/{approval_id}/decision", json=body)
    assert response.status_code == 200, response.text


def test_answered_by_our_api(platform: Platform) -> None:
    execution_id, approval_id = start(platform, "approve_api")
    (action,) = required_actions(platform, execution_id)
    assert (action["subject"], action["options"]) == ("Approval of step ask", ["Approve", "Reject"])
    page = f"/api/v1/approvals?execution_id={execution_id}&step_id=ask"
    assert action["body"] == f"{platform.home.api_url}{page}"
    (listed,) = platform.http.get(page).json()["approvals"]
    assert (listed["id"], listed["title"], listed["status"]) == (approval_id, f"Pay 7? {MARKER}", "pending")
    os.kill(platform.home.read_state()["children"]["airflow-triggerer"]["pid"], signal.SIGKILL)
    decide(platform, approval_id, decision="approve", by="bob", comment=MARKER)
    execution = platform.wait(execution_id)
    assert (execution["status"], execution["output"]) == ("success", {"yes": {"by": "bob"}})
    assert platform.airflow_run_state("default__approve_api", execution_id) == "success"
    assert required_actions(platform, execution_id) == []
    assert task(platform, "approve_api", execution_id)["try_number"] == 1
    for needle in (MARKER, "Really"):
        assert rows_with(platform, needle) == []
        assert logs_with(platform, needle) == []


def test_answered_in_airflow(platform: Platform) -> None:
    execution_id, approval_id = start(platform, "approve_airflow")
    answer_in_airflow(platform, "approve_airflow", execution_id, "Reject")
    execution = platform.wait(execution_id)
    user = platform.state["airflow_username"]
    assert (execution["status"], execution["output"]) == ("success", {"no": {"by": user}})
    shown = platform.http.get(f"/api/v1/approvals/{approval_id}").json()
    assert (shown["decision"], shown["by"], shown["via"]) == ("reject", user, "airflow")
    assert task(platform, "approve_airflow", execution_id)["try_number"] == 1


def test_an_answer_in_airflow_that_does_not_count(platform: Platform) -> None:
    execution_id, approval_id = start(platform, "approve_assigned", assignees=[NOBODY])
    before = task(platform, "approve_assigned", execution_id)["trigger"]["id"]
    answer_in_airflow(platform, "approve_assigned", execution_id, "Approve")

    def asked_again() -> bool:
        now = task(platform, "approve_assigned", execution_id)
        return now["state"] == "deferred" and now["trigger"]["id"] != before

    platform.until(asked_again)
    assert len(required_actions(platform, execution_id)) == 1, "it is open again"
    # Airflow writes a task's log behind its state.
    platform.until(lambda: "not_assignee" in log_of(platform, execution_id))
    assert task(platform, "approve_assigned", execution_id)["try_number"] == 1
    assert platform.http.get(f"/api/v1/approvals/{approval_id}").json()["status"] == "pending"
    decide(platform, approval_id, decision="approve", by=NOBODY)
    assert platform.wait(execution_id)["output"] == {"yes": {"by": NOBODY}}


def test_nobody_answers(platform: Platform) -> None:
    execution_id, _ = start(platform, "approve_late", timeout=4, on_timeout="reject")
    execution = platform.wait(execution_id)
    assert (execution["status"], execution["output"]) == ("success", {"no": {"by": "timeout"}})
    assert required_actions(platform, execution_id) == []
