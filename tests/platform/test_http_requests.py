"""``http_request`` in real Airflow: what arrives, what is never reached, and what Airflow knows of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.platform.test_airflow_holds_no_tenant_text import logs_with, rows_with
from tests.stubs.http_server import HttpServer
from tests.support import Platform

pytestmark = pytest.mark.platform

MARKER = "hv3marker"


def workflow(workflow_id: str, config: dict[str, Any]) -> dict[str, Any]:
    task = {"id": "call", "type": "http_request", "config": config}
    return {"id": workflow_id, "name": "n", "version": "1", "trigger": {"type": "manual"}, "tasks": [task]}


def run(platform: Platform, flow: dict[str, Any]) -> dict[str, Any]:
    platform.publish(flow)
    return platform.wait(platform.execute(flow["id"], {"text": MARKER}))


def test_a_request_arrives_and_airflow_knows_nothing_of_it(platform: Platform, session_web: HttpServer) -> None:
    session_web.on(f"/{MARKER}", lambda exchange: exchange.answer(200, exchange.body, content_type="application/json"))
    config = {
        "method": "POST",
        "url": session_web.url(f"/{MARKER}"),
        "headers": {"Authorization": f"Bearer {MARKER}"},
        "json": {"text": "{{ input.text }}"},
    }
    execution = run(platform, workflow("http_echo", config))
    assert (execution["status"], execution["output"]["call"]["json"]) == ("success", {"text": MARKER})
    [request] = [exchange for exchange in session_web.requests if exchange.target == f"/{MARKER}"]
    assert request.headers["idempotency-key"] == f"{execution['execution_id']}:0:call"
    assert rows_with(platform, MARKER) == []
    assert logs_with(platform, MARKER) == []


@pytest.mark.parametrize("what", ["api_url", "airflow_url"])
def test_the_platforms_own_ports_are_refused(what: str, platform: Platform) -> None:
    flow = workflow(f"http_own_{what}", {"url": f"{getattr(platform.home, what)}/health"})
    execution = run(platform, flow)
    assert execution["status"] == "failed"
    assert execution["steps"][0]["error"]["code"] == "blocked_address"
