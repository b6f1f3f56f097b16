"""Every template of ``agent-factory new`` runs on the platform as it is written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.templates.library import TEMPLATES
from api.templates.scaffolding import scaffold
from tests.stubs.http_server import HttpServer
from tests.stubs.model_server import ModelServer
from tests.support import Platform

pytestmark = pytest.mark.platform


def run(platform: Platform, template: str, given: dict[str, Any], decisions: dict[str, Any]) -> dict[str, Any]:
    name = f"from_{template}"
    platform.publish(json.loads(scaffold(TEMPLATES[template].source, name, "From a template")))
    execution_id = platform.execute(name, given)
    if decisions:
        platform.decide(execution_id, decisions)
    return platform.wait(execution_id)


@pytest.mark.parametrize("template", [name for name in TEMPLATES if name != "webhook_to_ticket"])
def test_its_example(template: str, platform: Platform, models: ModelServer) -> None:
    execution = run(platform, template, TEMPLATES[template].example, {})
    assert execution["status"] == "success", execution["error"]
    assert execution["output"]


def test_a_large_refund_is_asked_for(platform: Platform, models: ModelServer) -> None:
    given = {**TEMPLATES["refund_approval"].example, "amount": 250}
    workflow = json.loads(TEMPLATES["refund_approval"].source)
    (asking,) = [task["id"] for task in workflow["tasks"] if task["type"] == "approval"]
    decision = {"decision": "approve", "comment": "Go on", "by": "ada"}
    execution = run(platform, "refund_approval", given, {asking: decision})
    assert execution["status"] == "success", execution["error"]
    assert execution["output"]["refund"] == 250


def test_a_ticket_is_made(platform: Platform, models: ModelServer, session_web: HttpServer) -> None:
    made = {"status": 201, "headers": {"content-type": "application/json"}, "json": {"id": "T-1"}}
    platform.set_variables({"ticket_url": session_web.script("tickets", made)})
    execution = run(platform, "webhook_to_ticket", TEMPLATES["webhook_to_ticket"].example, {})
    assert (execution["status"], execution["output"]) == ("success", {"ticket": "T-1", "state": "made"})
