"""Cancelling, limits and events with real Airflow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
import pytest

from tests.stubs.model_server import ModelServer
from tests.support import Platform

pytestmark = pytest.mark.platform


def workflow(workflow_id: str, *tasks: dict[str, Any], **extra: Any) -> dict[str, Any]:
    document = {"id": workflow_id, "name": workflow_id, "version": "1", "trigger": {"type": "manual"}}
    return {**document, "tasks": list(tasks), **extra}


def ask(task_id: str, model: str, *after: str) -> dict[str, Any]:
    config = {"model": f"openai:{model}", "prompt": "Go on."}
    return {"id": task_id, "type": "ai_inference", "config": config, "next": list(after)}


@contextmanager
def platform_rows(platform: Platform) -> Iterator[Any]:
    """A cursor on the control plane's database."""
    connection = psycopg2.connect(platform.cluster.url("agent_factory"))
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


def test_cancel_does_not_wait_for_the_model_and_ends_airflows_run(platform: Platform, models: ModelServer) -> None:
    platform.publish(
        workflow("cancel_me", ask("first", "cancel-me-first", "second"), ask("second", "cancel-me-second"))
    )
    models.scripts |= {"cancel-me-first": ["late"], "cancel-me-second": ["never"]}
    models.block_model("cancel-me-first")
    execution_id = platform.execute("cancel_me", {})
    platform.until(lambda: len(models.prompts("cancel-me-first")) == 1)
    response = platform.http.post(f"/api/v1/executions/{execution_id}/cancel")
    assert response.status_code == 202, response.text
    # The model has still not answered: it is released by the fixture only.
    execution = platform.wait(execution_id)
    assert execution["status"] == "cancelled"
    assert [step["status"] for step in execution["steps"]] == ["cancelled", "cancelled"]
    assert platform.airflow_run_state("default__cancel_me", execution_id) == "failed"
    assert models.prompts("cancel-me-second") == []


def test_one_at_a_time_never_overlaps(platform: Platform, models: ModelServer) -> None:
    settings = {"concurrency": {"limit": 1}}
    platform.publish(workflow("one_by_one", ask("only", "one-by-one"), settings=settings))
    models.scripts["one-by-one"] = ["done"] * 5
    executions = [platform.wait(each, 300) for each in [platform.execute("one_by_one", {}) for _ in range(5)]]
    assert [execution["status"] for execution in executions] == ["success"] * 5
    spans = [(execution["started_at"], execution["completed_at"]) for execution in executions]
    # Accepted first, begun first; each began after the one before had ended.
    assert all(spans[n][1] <= spans[n + 1][0] for n in range(4)), spans


def test_an_event_starts_a_workflow_whose_event_starts_another(platform: Platform) -> None:
    def on(kind: str, condition: str | None = None) -> dict[str, Any]:
        return {"type": "event", "config": {"type": kind, "filter": condition}}

    emit = {"id": "tell", "type": "emit_event", "config": {"type": "parcel.packed", "data": "{{ input }}"}}
    keep = {"id": "keep", "type": "transform", "config": {"set": {"seen": "{{ input.order }}"}}}
    platform.publish(workflow("pack", emit, trigger=on("order.paid", "{{ input.total > 10 }}")))
    platform.publish(workflow("send", keep, trigger=on("parcel.packed")))
    event = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "order.paid"}
    headers = {"content-type": "application/cloudevents+json"}
    body = event | {"data": {"order": 7, "total": 20}}
    response = platform.http.post("/api/v1/events", json=body, headers=headers)
    assert response.status_code == 202, response.text
    [started] = response.json()["executions"]
    packed = platform.wait(started["execution_id"])
    assert packed["status"] == "success", packed
    event_id = packed["output"]["tell"]["event_id"]
    with platform_rows(platform) as cursor:
        cursor.execute("SELECT started->0->>'execution_id', source FROM received_events WHERE id = %s", (event_id,))
        [(second, source)] = cursor.fetchall()
    assert source == "/default/workflows/pack"
    sent = platform.wait(second)
    assert sent["output"] == {"keep": {"seen": 7}}
    assert (sent["depth"], sent["trigger"]["event"]["type"]) == (1, "parcel.packed")
