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
TOKEN = "import secrets\n\n\ndef main(inputs):\n    return {'token': secrets.token_hex(8)}\n"
"""Another output each time it runs."""
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


class Backfills:
    """Backfills of one day of a schedule, one after the other."""

    def __init__(self, platform: Platform, workflow_id: str) -> None:
        self._platform = platform
        self.dag_id = f"default__{workflow_id}"

    def fill(self, reprocess: str, **more: Any) -> dict[str, Any]:
        """Backfill the day, and return its run once Airflow has begun it."""
        body = {"dag_id": self.dag_id, "from_date": "2026-03-05T00:00:00Z", "to_date": "2026-03-05T23:00:00Z"}
        response = self._platform.airflow.post(
            "/api/v2/backfills", json=body | {"reprocess_behavior": reprocess} | more
        )
        assert response.is_success, response.text
        path = f"/api/v2/dags/{self.dag_id}/dagRuns"
        self._platform.until(lambda: self._runs(path)[0]["state"] != "queued")
        # Airflow looks twice a minute whether a backfill is over; it takes no other one until then.
        assert self._platform.airflow.put(f"/api/v2/backfills/{response.json()['id']}/cancel").is_success
        [run] = self._runs(path)
        return dict(run)

    def _runs(self, path: str) -> list[dict[str, Any]]:
        return list(self._platform.airflow.get(path, params={"run_type": "backfill"}).json()["dag_runs"])

    def ended(self, run: dict[str, Any]) -> str:
        return run_state(self._platform, self.dag_id, run["dag_run_id"])

    def lives_again(self, before: dict[str, Any]) -> dict[str, Any]:
        """Return an execution at its next end."""
        path = f"/api/v1/executions/{before['execution_id']}"
        get = self._platform.http.get
        self._platform.until(lambda: get(path).json()["reopened_at"] != before["reopened_at"], 120)
        return self._platform.wait(before["execution_id"])


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

    def test_paused(self, platform: Platform) -> None:
        """The clock's runs of a paused workflow begin nothing, and end well; after the pause they do."""
        config = {"cron": "0 6 5 3 *", "input": {"who": f"{MARKER} paused"}}
        dag_id = published(platform, workflow("paused", trigger={"type": "schedule", "config": config}))
        days = Backfills(platform, "paused")
        assert platform.http.post("/api/v1/workflows/paused/pause").is_success
        run = days.fill("none")
        assert days.ended(run) == "success"
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run['dag_run_id']}/taskInstances"
        assert {task["state"] for task in platform.airflow.get(path).json()["task_instances"]} == {"skipped"}
        assert platform.http.get(f"/api/v1/workflows/paused/runs/{run['dag_run_id']}").status_code == 404
        assert platform.http.post("/api/v1/workflows/paused/resume").is_success
        again = days.fill("completed")
        assert execution_of(platform, dag_id, again["dag_run_id"])["input"] == config["input"]
        assert days.ended(again) == "success"


class TestBackfilledAgain:
    """A backfill that processes runs again clears them: the execution goes on, on the version that it began with."""

    @pytest.fixture
    def session(self, platform: Platform, models: ModelServer) -> Backfills:
        models.scripts["past-again"] = [{"error": "not now"}, "fine", "never"]
        return Backfills(platform, "past_again")

    def test_stays_on_its_version_and_pays_nothing_twice(
        self, platform: Platform, models: ModelServer, session: Backfills
    ) -> None:
        ask = {"id": "ask", "type": "ai_inference", "config": {"model": "openai:past-again", "prompt": "Hello"}}
        shape = {"id": "shape", "type": "code", "code": TOKEN, "config": {"language": "python"}, "next": ["ask"]}
        # Once a year: with a backfill behind it Airflow would run the last time that was missed as well.
        trigger = {"type": "schedule", "config": {"cron": "0 6 5 3 *", "input": {"who": "past"}}}
        document = workflow("past_again", trigger=trigger, tasks=[shape, ask])
        document["output"] = {"token": "{{ shape.output.token }}", "text": "{{ ask.output.text }}"}
        session.dag_id = published(platform, document)

        run = session.fill("none")
        failed = execution_of(platform, session.dag_id, run["dag_run_id"])
        assert (failed["status"], failed["version"]) == ("failed", 1)
        assert session.ended(run) == "failed"
        assert failed["steps"][1]["attempts"] == 1

        newer = {"id": "more", "type": "transform", "config": {"set": {"x": 1}}}
        published(platform, document | {"tasks": [shape, ask | {"next": ["more"]}, newer]})
        again = session.fill("failed")
        assert again["dag_run_id"] == run["dag_run_id"]
        repaired = session.lives_again(failed)
        assert (repaired["status"], repaired["version"], repaired["epoch"]) == ("success", 1, 0)
        assert [step["id"] for step in repaired["steps"]] == ["shape", "ask"]
        assert repaired["steps"][0] == failed["steps"][0]
        assert session.ended(again) == "success"
        assert len(models.prompts("past-again")) == 2

        assert session.fill("completed")["dag_run_id"] == run["dag_run_id"]
        replayed = session.lives_again(repaired)
        assert (replayed["status"], replayed["output"]) == ("success", repaired["output"])
        assert session.ended(again) == "success"
        assert len(models.prompts("past-again")) == 2

        session.fill("completed", run_on_latest_version=True)
        assert session.ended(again) == "failed"
        kept = execution_of(platform, session.dag_id, run["dag_run_id"])
        assert {**kept, "duration_ms": 0} == {**replayed, "duration_ms": 0}
        assert len(models.prompts("past-again")) == 2


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
