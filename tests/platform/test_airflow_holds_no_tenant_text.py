"""Planted markers of a tenant are found nowhere in Airflow: its database, serialized DAGs, XCom, logs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2 import sql

from tests.stubs.model_server import ModelServer
from tests.support import MODEL_KEY, Platform

pytestmark = pytest.mark.platform

MARKER = "zq7marker"
INJECTION = "{{ macros.uuid.os.popen('echo " + MARKER + "') }}"


def marked(place: str) -> str:
    return f"{MARKER}-{place}"


def workflow(workflow_id: str, *, fails: bool) -> dict[str, Any]:
    """A workflow with a marker in every text that a tenant can write; verbatim texts also hold injections."""
    config: dict[str, Any] = {
        "model": "openai:marked",
        "system": marked("system"),
        "prompt": marked("prompt") + " {{ input.text }} {{ trigger | tojson }}",
        "output_schema": {
            "type": "object", "title": marked("schema"), "properties": {"kind": {"type": "string"}},
            "required": ["missing" if fails else "kind"],
        },
    }  # fmt: skip
    return {
        "id": workflow_id,
        "name": marked("name") + INJECTION,
        "description": marked("description") + INJECTION,
        "version": marked("version") + INJECTION,
        "trigger": {"type": "webhook", "config": {"path": f"{workflow_id}/{MARKER}"}},
        "input": {"type": "object", "title": marked("input-schema"), "properties": {"text": {"type": "string"}}},
        "tasks": [
            {
                "id": "ask", "type": "ai_inference", "name": marked("task-name") + INJECTION,
                "description": marked("task-description") + INJECTION, "config": config, "next": ["shape"],
            },
            {
                "id": "shape", "type": "transform", "next": ["answer"],
                "config": {"set": {MARKER: "{{ ask.output.kind }}", "wrong": "{{ input.text ~ 'x' }}"}},
            },
            {
                "id": "answer", "type": "respond",
                "config": {"headers": {"x-reply": marked("header")}, "body": {"text": marked("body")}},
            },
        ],
        "output": {"text": "{{ shape.output }}", MARKER: marked("output")},
    }  # fmt: skip


def rows_with(platform: Platform, needle: str) -> list[str]:
    """Return the tables of Airflow's database where any column of any row holds the text, plain or as bytes."""
    forms = [f"%{needle}%", f"%{needle.encode().hex()}%"]
    connection = psycopg2.connect(platform.cluster.url("airflow"))
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
            tables = [row[0] for row in cursor.fetchall()]
            found = []
            for table in tables:
                query = sql.SQL("SELECT count(*) FROM {} AS r WHERE r::text LIKE ANY(%s)").format(sql.Identifier(table))
                cursor.execute(query, (forms,))
                if cursor.fetchone()[0]:  # type: ignore[index]  # a count has one row
                    found.append(table)
            return found
    finally:
        connection.close()


def logs_with(platform: Platform, needle: str) -> list[Path]:
    """Return the log files of Airflow's tasks and programs that hold the text."""
    files = [*platform.home.logs.glob("airflow-*.log"), *(platform.home.logs / "tasks").rglob("*.log")]
    return [file for file in files if needle.encode() in file.read_bytes()]


def test_markers(platform: Platform, models: ModelServer) -> None:
    for fails in (False, True):
        workflow_id = "marked_failing" if fails else "marked"
        models.scripts["marked"] = [{"kind": marked("answer")}]
        published = platform.publish(workflow(workflow_id, fails=fails))
        accepted = platform.http.post(
            published["webhooks"][0],
            json={"text": marked("input") + INJECTION},
            headers={"X-Marked": marked("request-header")},
        )
        assert accepted.status_code == 202, accepted.text
        execution = platform.wait(accepted.json()["execution_id"])
        assert execution["status"] == ("failed" if fails else "success"), execution
        platform.airflow_run_state(f"default__{workflow_id}", execution["execution_id"])
        if not fails:
            assert execution["output"] == {
                "text": {MARKER: marked("answer"), "wrong": marked("input") + INJECTION + "x"},
                MARKER: marked("output"),
            }  # fmt: skip
    assert marked("request-header") in models.prompts("marked")[-1]
    assert "default__marked" in "".join(str(path) for path in (platform.home.logs / "tasks").rglob("*"))
    # The search itself works: it finds what Airflow may hold.
    assert {"dag", "dag_run", "serialized_dag"} <= set(rows_with(platform, "default__marked"))
    assert logs_with(platform, "step ask: failed")
    for needle in (MARKER, MODEL_KEY, "popen"):
        assert rows_with(platform, needle) == []
        assert logs_with(platform, needle) == []
