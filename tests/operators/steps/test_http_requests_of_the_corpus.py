"""The corpus without stubs: its HTTP requests are sent to a server that says what the stubs say. Same results."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import orjson
import pytest

from compiler import compile_workflow
from operators.execution.local import run_plan
from operators.execution.stubs import Stubs
from tests.stubs.http_server import HttpServer

pytestmark = pytest.mark.unit

CORPUS = sorted((Path(__file__).parents[2] / "workflows").glob("http_request_*.json"))


def over_http(case: dict[str, Any], server: HttpServer) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the workflow with the server's URLs in its requests, and the stubs that are left."""
    workflow, stubs = copy.deepcopy(case["workflow"]), dict(case["stubs"])
    for task in workflow["tasks"]:
        if task["type"] == "http_request":
            task["config"]["url"] = server.script(f"{workflow['id']}-{task['id']}", stubs.pop(task["id"]))
    return workflow, stubs


@pytest.mark.parametrize("fusion", ["auto", "off"])
@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.stem)
async def test_same_result(file: Path, fusion: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    case = orjson.loads(file.read_bytes())
    with HttpServer() as server:
        monkeypatch.setenv("AGENT_FACTORY_EGRESS_ALLOW", f"127.0.0.1:{server.port}")
        workflow, stubs = over_http(case, server)
        plan = compile_workflow(orjson.dumps(workflow), organization="test", fusion=fusion).plan
        assert plan is not None
        result = await run_plan(plan, input=case["input"], vars=case["vars"], stubs=Stubs(stubs))
        assert server.requests
    expected = case["expect"]
    assert (result.status, result.output) == (expected["status"], expected["output"])
    for step_id, step in expected.get("steps", {}).items():
        fields = {"status": step} if isinstance(step, str) else step
        record = result.steps[step_id].model_dump(mode="json")
        assert {name: record[name] for name in fields} == fields, step_id


@pytest.mark.parametrize(
    "stub",
    [
        {"status": 200, "headers": {}, "json": {}},
        {"status": 200, "headers": {"content-type": "application/json"}, "text": "x"},
        {"status": 200, "text": ""},
        {"text": "x"},
    ],
)
def test_a_stub_that_no_server_can_have_caused(stub: dict[str, Any]) -> None:
    with HttpServer() as server, pytest.raises((ValueError, KeyError)):
        server.script("x", stub)
