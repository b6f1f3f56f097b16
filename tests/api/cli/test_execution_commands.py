"""agent-factory executions list, watch and compare, and variables, against a real server."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from api.cli.executions import describe_comparison, read_events
from api.cli.main import main
from operators.execution.records import StepRecord
from tests.api.control_plane import UNIT, ControlPlane

pytestmark = pytest.mark.platform


@pytest.fixture(autouse=True)
def server(served_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    monkeypatch.setenv("AGENT_FACTORY_HOME", str(tmp_path))
    monkeypatch.setenv("AGENT_FACTORY_API_URL", served_url)
    monkeypatch.setenv("AGENT_FACTORY_API_TOKEN", "api-token")
    return served_url


async def run(*arguments: str, input: str | None = None) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, main, list(arguments), input=input)


async def begin(plane: ControlPlane) -> tuple[str, int]:
    digest = (await plane.publish())["digest"]
    execution_id = await plane.execute()
    return execution_id, (await plane.lease(execution_id, digest))["token"]


async def finish(plane: ControlPlane, execution_id: str, token: int, status: str = "success") -> None:
    done = StepRecord(id="hello", status="success", output={"text": "Hello"}, attempts=1, duration_ms=3)
    await plane.journal(execution_id, token, done)
    error = None if status == "success" else {"code": "timeout", "message": "late"}
    body = {"unit": UNIT, "token": token, "status": status, "error": error}
    assert (await plane.call(execution_id, "finish", body)).status_code == 200


async def test_list(control_plane: ControlPlane) -> None:
    assert "No executions." in (await run("executions", "list")).stderr
    execution_id, token = await begin(control_plane)
    await finish(control_plane, execution_id, token, "failed")
    other = await control_plane.execute()
    listed = json.loads((await run("executions", "list", "--format", "json")).stdout)["executions"]
    assert [each["execution_id"] for each in listed] == [other, execution_id]
    result = await run("executions", "list", "--status", "failed", "--status", "cancelled", "--workflow", "greet")
    assert (result.exit_code, result.stdout.split()[0]) == (0, execution_id)
    assert result.stdout.rstrip().endswith("timeout")
    result = await run("executions", "list", "--from", "yesterday")
    assert result.exit_code == 1
    assert "accepted_from" in result.output


@pytest.mark.parametrize(("status", "code"), [("success", 0), ("failed", 1)])
async def test_watch(control_plane: ControlPlane, status: str, code: int) -> None:
    execution_id, token = await begin(control_plane)
    watching = asyncio.create_task(run("executions", "watch", execution_id))
    async with asyncio.timeout(20):
        while not control_plane.app.state.streams.count:
            await asyncio.sleep(0.01)
    await finish(control_plane, execution_id, token, status)
    async with asyncio.timeout(20):
        result = await watching
    assert result.exit_code == code, result.output
    assert "  hello  success  3 ms\n" in result.stdout
    assert result.stdout.splitlines()[-1].startswith(f"execution  {status}")


async def test_watch_nothing(control_plane: ControlPlane) -> None:
    result = await run("executions", "watch", "x")
    assert (result.exit_code, "There is no execution 'x'" in result.output) == (1, True)


async def test_compare(control_plane: ControlPlane) -> None:
    execution_id, token = await begin(control_plane)
    await finish(control_plane, execution_id, token)
    other = await control_plane.execute()
    result = await run("executions", "compare", execution_id, other)
    assert result.exit_code == 0, result.output
    assert "  hello: success -> pending, 3 ms -> -" in result.stdout
    assert '    (the whole output): {"text":"Hello"} -> null' in result.stdout


async def test_variables(control_plane: ControlPlane) -> None:
    assert (await run("variables", "set", "region", "eu")).exit_code == 0
    assert (await run("variables", "set", "limits", '{"a": 1}', "--json", "--environment", "staging")).exit_code == 0
    listed = (await run("variables", "list")).stdout.splitlines()
    assert listed == ['default  region  "eu"', 'staging  limits  {"a":1}']
    assert (await run("variables", "unset", "region")).exit_code == 0
    result = await run("variables", "unset", "region")
    assert (result.exit_code, "There is no variable 'region'" in result.output) == (1, True)


async def test_a_secret_is_read_from_standard_input_only(control_plane: ControlPlane) -> None:
    assert (await run("variables", "set", "token", "s3cr3t", "--secret")).exit_code == 2
    result = await run("variables", "set", "token", "--secret", input="s3cr3t\n")
    # This control plane has no key.
    assert (result.exit_code, "AGENT_FACTORY_SECRET_KEY" in result.output) == (1, True)
    assert "s3cr3t" not in result.output


def test_events_of_a_stream() -> None:
    lines = ["retry: 2000", "", ": heartbeat", "", "event: step", "id: 1", 'data: {"a": 1}', ""]
    assert list(read_events(iter(lines))) == [("1", "step", {"a": 1})]


def test_steps_of_one_side() -> None:
    side: dict[str, Any] = {
        "workflow_id": "w", "version": 1, "execution_id": "i", "status": "success", "duration_ms": None,
    }  # fmt: skip
    compared = {"left": side, "right": side, "steps": [{"id": "a", "left": None, "right": {}, "output": None}]}
    assert describe_comparison(compared)[-1] == "  a: only in the right one"
