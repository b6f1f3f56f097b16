"""Runs that begin in Airflow: by its API, by the clock, by a backfill, by our form in its UI."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote

import httpx
import pytest

from tests.platform.test_airflow_holds_no_tenant_text import logs_with, rows_with
from tests.stubs.model_server import ModelServer
from tests.support import Platform

pytestmark = pytest.mark.platform

MARKER = "zq9airflow"
INPUT = {
    "type": "object",
    "properties": {"who": {"type": "string", "title": f"{MARKER} who"}},
    "additionalProperties": False,
}


def workflow(workflow_id: str, **changes: Any) -> dict[str, Any]:
    """Two units: the second begins under the execution that the first adopted."""
    return {
        "id": workflow_id, "name": f"{MARKER} name", "version": "1", "trigger": {"type": "manual"}, "input": INPUT,
        "tasks": [
            {
                "id": "shape", "type": "transform", "next": ["again"],
                "config": {"set": {"text": MARKER + " {{ input.who | default('nobody') }}"}},
            },
            {"id": "again", "type": "transform", "config": {"set": {"text": "{{ shape.output.text }}"}}},
        ],
        "output": {"text": "{{ again.output.text }}", "trigger": "{{ trigger }}"},
        "settings": {"fusion": "off"},
    } | changes  # fmt: skip


def published(platform: Platform, document: dict[str, Any]) -> str:
    """Publish a workflow, wait until Airflow has it, and return its DAG's id."""
    answer = platform.publish(document)
    platform.until(lambda: platform.airflow_has(answer["dag_id"], answer["digest"]))
    return str(answer["dag_id"])


def start(platform: Platform, dag_id: str, **body: Any) -> str:
    """Start a run as Airflow's own form does; return its id."""
    response = platform.airflow.post(f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": None} | body)
    assert response.is_success, response.text
    return str(response.json()["dag_run_id"])


def execution_of(platform: Platform, dag_id: str, run_id: str) -> dict[str, Any]:
    """Return the execution of a run, once it has ended."""
    path = f"/api/v1/workflows/{dag_id.partition('__')[2]}/runs/{quote(run_id, safe='')}"
    platform.until(lambda: platform.http.get(path).is_success, 120)
    return platform.wait(platform.http.get(path).json()["execution_id"])


def run_state(platform: Platform, dag_id: str, run_id: str) -> str:
    return platform.airflow_run_state(dag_id, quote(run_id, safe=""))


def check_nothing_leaked(platform: Platform) -> None:
    assert rows_with(platform, MARKER) == []
    assert logs_with(platform, MARKER) == []


class TestStartedInAirflow:
    def test_without_conf(self, platform: Platform) -> None:
        dag_id = published(platform, workflow("by_hand"))
        run_id = start(platform, dag_id)
        execution = execution_of(platform, dag_id, run_id)
        assert (execution["status"], execution["input"]) == ("success", {})
        assert execution["output"]["text"] == f"{MARKER} nobody"
        assert execution["output"]["trigger"]["type"] == "manual"
        assert unquote(execution["airflow_url"]).endswith(f"/dags/{dag_id}/runs/{run_id}")
        assert run_state(platform, dag_id, run_id) == "success"
        check_nothing_leaked(platform)

    def test_with_a_prepared_input(self, platform: Platform) -> None:
        dag_id = published(platform, workflow("prepared"))
        body = {"input": {"who": f"{MARKER} Ann"}}
        input_id = platform.http.post("/api/v1/workflows/prepared/inputs", json=body).json()["input_id"]
        run_id = start(platform, dag_id, conf={"input_id": input_id})
        execution = execution_of(platform, dag_id, run_id)
        assert execution["output"]["text"] == f"{MARKER} {MARKER} Ann"
        assert run_state(platform, dag_id, run_id) == "success"
        check_nothing_leaked(platform)

    def test_input_that_breaks_the_schema(self, platform: Platform) -> None:
        dag_id = published(platform, workflow("needs_who", input=INPUT | {"required": ["who"]}))
        run_id = start(platform, dag_id)
        assert run_state(platform, dag_id, run_id) == "failed"
        execution = execution_of(platform, dag_id, run_id)
        assert (execution["status"], execution["error"]["code"]) == ("failed", "invalid_input")
        assert {step["status"] for step in execution["steps"]} == {"cancelled"}
        check_nothing_leaked(platform)

    def test_cleared(self, platform: Platform, models: ModelServer) -> None:
        models.scripts["adopted"] = [{"error": "not now"}, "fine"]
        ask = {"id": "ask", "type": "ai_inference", "config": {"model": "openai:adopted", "prompt": "Hello"}}
        first = {"id": "first", "type": "transform", "config": {"set": {"x": 1}}, "next": ["ask"]}
        document = workflow("cleared", tasks=[first, ask])
        del document["output"]
        dag_id = published(platform, document)
        run_id = start(platform, dag_id)
        failed = execution_of(platform, dag_id, run_id)
        assert failed["status"] == "failed"
        assert run_state(platform, dag_id, run_id) == "failed"
        body = {"dry_run": False, "dag_run_id": run_id, "only_failed": True}
        cleared = platform.airflow.post(f"/api/v2/dags/{dag_id}/clearTaskInstances", json=body)
        assert cleared.is_success, cleared.text
        platform.until(lambda: execution_of(platform, dag_id, run_id)["status"] == "success", 120)
        again = execution_of(platform, dag_id, run_id)
        assert again["execution_id"] == failed["execution_id"]
        assert again["output"] == {"ask": {"text": "fine"}}
        assert run_state(platform, dag_id, run_id) == "success"


class TestStartedByTheClock:
    def test_every_minute(self, platform: Platform) -> None:
        every_minute = {"cron": "*/1 * * * *", "input": {"who": f"{MARKER} clock"}}
        never = {"cron": "0 0 29 feb *", "timezone": "Asia/Tokyo", "input": {"who": "nobody"}}
        triggers = [
            {"type": "manual"},
            {"type": "schedule", "config": never},
            {"type": "schedule", "config": every_minute},
            {"type": "webhook", "config": {"path": "clock"}},
        ]
        document = workflow("clock", triggers=triggers)
        del document["trigger"]
        dag_id = published(platform, document)
        runs: list[dict[str, Any]] = []

        def fired() -> bool:
            response = platform.airflow.get(f"/api/v2/dags/{dag_id}/dagRuns", params={"run_type": "scheduled"})
            runs[:] = response.json()["dag_runs"]
            return bool(runs)

        platform.until(fired, 150)
        # It would go on for the rest of the session.
        published(platform, workflow("clock"))
        due_at = runs[0]["logical_date"]
        execution = execution_of(platform, dag_id, runs[0]["dag_run_id"])
        assert (execution["status"], execution["input"]) == ("success", every_minute["input"])
        trigger = execution["output"]["trigger"]
        assert (trigger["type"], trigger["scheduled_at"]) == ("schedule", due_at.replace("Z", "+00:00"))
        assert due_at.endswith(":00Z")
        assert run_state(platform, dag_id, runs[0]["dag_run_id"]) == "success"
        check_nothing_leaked(platform)

    def test_backfill(self, platform: Platform) -> None:
        config = {"cron": "0 6 * * *", "input": {"who": f"{MARKER} past"}}
        dag_id = published(platform, workflow("past", trigger={"type": "schedule", "config": config}))
        body = {"dag_id": dag_id, "from_date": "2026-03-01T00:00:00Z", "to_date": "2026-03-02T23:00:00Z"}
        response = platform.airflow.post("/api/v2/backfills", json=body)
        assert response.is_success, response.text
        runs = platform.airflow.get(f"/api/v2/dags/{dag_id}/dagRuns").json()["dag_runs"]
        seen = {}
        for run in runs:
            execution = execution_of(platform, dag_id, run["dag_run_id"])
            assert (execution["status"], execution["input"]) == ("success", config["input"])
            seen[execution["output"]["trigger"]["scheduled_at"]] = run_state(platform, dag_id, run["dag_run_id"])
        assert seen == {"2026-03-01T06:00:00+00:00": "success", "2026-03-02T06:00:00+00:00": "success"}
        check_nothing_leaked(platform)


class TestForm:
    @pytest.fixture
    def browser(self, platform: Platform) -> Iterator[httpx.Client]:
        """A browser with Airflow's cookie, as its login page sets it."""
        token = platform.airflow.headers["authorization"].removeprefix("Bearer ")
        with httpx.Client(base_url=platform.home.airflow_url, cookies={"_token": token}, timeout=60) as browser:
            yield browser

    def test_starts_a_run(self, platform: Platform, browser: httpx.Client) -> None:
        dag_id = published(platform, workflow("with_form"))
        path = f"/agent-factory/dags/{dag_id}/form"
        page = browser.get(path)
        assert page.status_code == 200, page.text
        assert f"{MARKER} who" in page.text
        token = re.search(r'name="token" value="([^"]+)"', page.text)
        assert token is not None
        refused = browser.post(path, data={"token": "x", "input.who": "Eve"})
        assert refused.status_code == 403
        started = browser.post(path, data={"token": token[1], "input.who": f"{MARKER} form"})
        assert started.status_code == 202, started.text
        run = re.search(rf"/dags/{dag_id}/runs/([0-9a-f-]+)", started.text)
        assert run is not None
        execution = platform.wait(run[1])
        assert execution["output"]["text"] == f"{MARKER} {MARKER} form"
        assert run_state(platform, dag_id, run[1]) == "success"
        check_nothing_leaked(platform)

    def test_needs_a_login(self, platform: Platform) -> None:
        path = f"{platform.home.airflow_url}/agent-factory/dags/default__with_form/form"
        assert httpx.get(path).status_code == 401
        assert httpx.post(path, data={"input.who": "Eve"}).status_code == 401

    def test_is_a_view_on_the_dag(self, platform: Platform) -> None:
        plugins = platform.airflow.get("/api/v2/plugins").json()["plugins"]
        ours = next(plugin for plugin in plugins if plugin["name"] == "agent_factory")
        assert [(view["destination"], view["href"]) for view in ours["external_views"]] == [
            ("dag", "/agent-factory/dags/{DAG_ID}/form")
        ]
        assert ours["timetables"] == ["operators.tasks.timetable.ZonedCronTimetable"]
        assert platform.airflow.get("/api/v2/plugins/importErrors").json()["import_errors"] == []
