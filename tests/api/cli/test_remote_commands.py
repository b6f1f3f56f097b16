"""agent-factory publish, execute and executions, against a real server."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from api.cli.main import main
from tests.api.control_plane import UNIT, ControlPlane, workflow
from tests.api.executions.test_cancel_endpoint import failed

pytestmark = pytest.mark.platform

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No platform of the machine is found by accident, and no login."""
    monkeypatch.setenv("AGENT_FACTORY_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("AGENT_FACTORY_API_URL", "AGENT_FACTORY_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def server(served_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AGENT_FACTORY_API_URL", served_url)
    monkeypatch.setenv("AGENT_FACTORY_API_TOKEN", "api-token")
    return served_url


async def run(*arguments: str) -> Result:
    """Run a command beside the server, which lives in this thread."""
    return await asyncio.to_thread(CliRunner().invoke, main, list(arguments))


def write(folder: Path, document: Any) -> str:
    path = folder / "workflow.json"
    path.write_text(json.dumps(document))
    return str(path)


class TestPublish:
    async def test_prints_the_version(self, server: str, tmp_path: Path) -> None:
        result = await run("publish", write(tmp_path, workflow()))
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout).items() >= {"workflow_id": "greet", "version": 1}.items()

    @pytest.mark.parametrize("document", [workflow(tasks=[]), [], {}, {"id": "../x"}, {"id": "a/b"}, {"id": 7}])
    async def test_invalid(self, server: str, tmp_path: Path, document: Any) -> None:
        result = await run("publish", write(tmp_path, document))
        assert result.exit_code == 1
        assert json.loads(result.stdout)["diagnostics"]

    async def test_no_such_file(self, server: str) -> None:
        assert (await run("publish", "nowhere.json")).exit_code == 2


class TestExecute:
    async def test_prints_the_execution(self, server: str, control_plane: ControlPlane) -> None:
        await control_plane.publish()
        result = await run("execute", "greet", "--input", '{"name": "Ann"}')
        assert result.exit_code == 0
        assert json.loads(result.stdout)["status"] == "pending"

    @pytest.mark.parametrize(("status", "code"), [("success", 0), ("failed", 1), ("cancelled", 1)])
    async def test_wait(self, server: str, control_plane: ControlPlane, tmp_path: Path, status: str, code: int) -> None:
        digest = (await control_plane.publish())["digest"]
        (tmp_path / "input.json").write_text('{"name": "from the file"}')
        waiting = asyncio.create_task(run("execute", "greet", "--input", f"@{tmp_path / 'input.json'}", "--wait"))
        async with asyncio.timeout(20):
            execution_id = await self.accepted(control_plane)
            token = (await control_plane.lease(execution_id, digest))["token"]
            await control_plane.call(execution_id, "finish", {"unit": UNIT, "token": token, "status": status})
            result = await waiting
        shown = json.loads(result.stdout)
        assert (result.exit_code, shown["status"], shown["input"]) == (code, status, {"name": "from the file"})

    async def accepted(self, plane: ControlPlane) -> str:
        from sqlalchemy import text

        while True:
            async with plane.database.system() as session:
                found = await session.scalar(text("SELECT id FROM workflow_executions"))
            if found:
                return str(found)
            await asyncio.sleep(0.02)

    async def test_bad_input_is_wrong_use(self, server: str) -> None:
        assert (await run("execute", "greet", "--input", "{")).exit_code == 2

    async def test_refused_is_one_sentence(self, server: str) -> None:
        result = await run("execute", "greet")
        assert result.exit_code == 1
        assert result.stderr == "Error: There is no published workflow 'greet'.\n"


class TestShow:
    async def test_text(self, server: str, control_plane: ControlPlane) -> None:
        await control_plane.publish()
        execution_id = await control_plane.execute()
        lines = (await run("executions", "show", execution_id)).stdout.splitlines()
        assert lines[0] == f"greet version 1, execution {execution_id}: pending"
        assert lines[1:3] == ["  hello  pending", "  bye    pending"]

    async def test_json(self, server: str, control_plane: ControlPlane) -> None:
        await control_plane.publish()
        execution_id = await control_plane.execute()
        result = await run("executions", "show", execution_id, "--format", "json")
        assert json.loads(result.stdout) == await control_plane.show(execution_id)

    async def test_error_workflow(self, server: str, control_plane: ControlPlane) -> None:
        execution_id = await failed(control_plane, settings={"error_workflow": "mourn"})
        shown = (await run("executions", "show", execution_id)).stdout
        assert "  error workflow mourn was not started: not_found: There is no published workflow 'mourn'." in shown

    async def test_unknown(self, server: str) -> None:
        result = await run("executions", "show", "a/b")
        assert result.exit_code == 1
        assert result.stderr.startswith("Error: ")


class TestCancel:
    async def test_prints_the_status(self, server: str, control_plane: ControlPlane) -> None:
        await control_plane.publish()
        execution_id = await control_plane.execute()
        for _ in range(2):
            result = await run("executions", "cancel", execution_id)
            assert result.exit_code == 0
            assert json.loads(result.stdout) == {"execution_id": execution_id, "status": "cancelled"}

    async def test_unknown(self, server: str) -> None:
        result = await run("executions", "cancel", "a/b")
        assert result.exit_code == 1
        assert result.stderr.startswith("Error: ")


class TestRunAgain:
    @pytest.mark.parametrize(
        ("arguments", "epoch"),
        [(["retry"], 0), (["rerun"], 1), (["rerun", "--from", "bye"], 1)],
        ids=["retry", "rerun", "rerun_from"],
    )
    async def test_prints_the_status(
        self, server: str, control_plane: ControlPlane, arguments: list[str], epoch: int
    ) -> None:
        execution_id = await failed(control_plane)
        result = await run("executions", *arguments, execution_id)
        assert result.exit_code == 0, result.output
        body = {"execution_id": execution_id, "status": "pending", "epoch": epoch}
        assert json.loads(result.stdout).items() >= body.items()
        shown = (await run("executions", "show", execution_id)).stdout.splitlines()[0]
        assert shown == f"greet version 1, execution {execution_id}{', epoch 1' if epoch else ''}: pending"

    @pytest.mark.parametrize("command", ["retry", "rerun"])
    async def test_unknown(self, server: str, command: str) -> None:
        result = await run("executions", command, "a/b")
        assert result.exit_code == 1
        assert result.stderr.startswith("Error: ")

    async def test_no_such_task(self, server: str, control_plane: ControlPlane) -> None:
        execution_id = await failed(control_plane)
        result = await run("executions", "rerun", execution_id, "--from", "by")
        assert result.exit_code == 1
        assert result.stderr.endswith("got 'by'. Did you mean 'bye'?\n")


class TestServer:
    async def test_none_known(self) -> None:
        result = await run("execute", "greet")
        assert result.exit_code == 1
        assert "agent-factory up" in result.stderr
        assert len(result.stderr.splitlines()) == 1

    async def test_none_answers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AGENT_FACTORY_API_URL", NOWHERE)
        monkeypatch.setenv("AGENT_FACTORY_API_TOKEN", "t")
        result = await run("execute", "greet")
        assert result.exit_code == 1
        assert result.stderr.startswith(f"Error: No control plane answers at {NOWHERE}")

    async def test_wrong_token(self, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AGENT_FACTORY_API_TOKEN", "wrong")
        assert (await run("execute", "greet")).exit_code == 1

    async def test_running_platform(self, served_url: str, own_home: Path) -> None:
        (own_home / "platform.json").write_text(json.dumps({"api_url": served_url, "api_token": "api-token"}))
        result = await run("execute", "greet")
        assert result.stderr == "Error: There is no published workflow 'greet'.\n"

    async def test_the_platforms_token_goes_nowhere_else(self, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (own_home / "platform.json").write_text(json.dumps({"api_url": "http://other", "api_token": "secret"}))
        monkeypatch.setenv("AGENT_FACTORY_API_URL", NOWHERE)
        result = await run("execute", "greet")
        assert "No control plane is known" in result.stderr
