"""agent-factory agents and workflows, against a real server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.api.cli.test_remote_commands import own_home, run, server, write
from tests.api.control_plane import ControlPlane, workflow

pytestmark = pytest.mark.platform

__all__ = ["own_home", "server"]


def tasks(text: str) -> list[dict[str, Any]]:
    return [{"id": "hello", "type": "transform", "config": {"set": {"text": text}}}]


@pytest.fixture
async def agent(server: str, tmp_path: Path) -> dict[str, Any]:
    """An agent with a draft."""
    result = await run("agents", "create", "Greeter", "--workflow", write(tmp_path, workflow()))
    assert result.exit_code == 0, result.output
    made: dict[str, Any] = json.loads(result.stdout)
    return made


class TestAgents:
    async def test_list(self, agent: dict[str, Any]) -> None:
        assert (await run("agents", "list")).stdout == f"{agent['id']}  greet  draft  Greeter\n"
        assert (await run("agents", "list", "--status", "archived")).stderr == "No agents.\n"

    async def test_by_the_workflows_id(self, agent: dict[str, Any]) -> None:
        assert json.loads((await run("agents", "show", "greet")).stdout)["id"] == agent["id"]

    async def test_unknown(self, server: str) -> None:
        result = await run("agents", "show", "nobody")
        assert (result.exit_code, result.stderr) == (1, "Error: There is no agent 'nobody'.\n")

    async def test_from_a_file_to_a_rollback(self, agent: dict[str, Any], tmp_path: Path) -> None:
        published = await run("agents", "publish", "greet")
        assert published.exit_code == 0, published.output
        changed = workflow(tasks=tasks("Good day"))
        assert (await run("agents", "push", "greet", write(tmp_path, changed))).exit_code == 0
        assert (await run("agents", "list")).stdout.endswith("deployed version 1, draft changed  Greeter\n")
        pulled = tmp_path / "pulled.json"
        assert (await run("agents", "pull", "greet", "--out", str(pulled))).exit_code == 0
        assert json.loads(pulled.read_text()) == changed
        difference = json.loads((await run("agents", "diff", "greet", "1", "draft")).stdout)
        assert not difference["identical"]
        published = await run("agents", "publish", "greet")
        assert published.exit_code == 0, published.output
        assert json.loads((await run("agents", "rollback", "greet", "1")).stdout)["version"] == 3
        versions = json.loads((await run("agents", "versions", "greet")).stdout)["versions"]
        assert [version["number"] for version in versions] == [3, 2, 1]

    async def test_a_change_that_somebody_else_made_stays(self, agent: dict[str, Any], tmp_path: Path) -> None:
        file = write(tmp_path, workflow(tasks=tasks("mine")))
        assert (await run("agents", "push", "greet", write(tmp_path, workflow(tasks=tasks("theirs"))))).exit_code == 0
        refused = await run("agents", "push", "greet", file, "--etag", agent["draft"]["etag"])
        assert refused.exit_code == 1
        assert (await run("agents", "push", "greet", file, "--force")).exit_code == 0

    async def test_an_invalid_draft(self, agent: dict[str, Any], tmp_path: Path) -> None:
        broken = workflow(tasks=[{"id": "hello", "type": "transform", "config": {"set": {}}, "next": ["nowhere"]}])
        assert (await run("agents", "push", "greet", write(tmp_path, broken))).exit_code == 0
        preview = await run("agents", "preview", "greet")
        assert preview.exit_code == 1
        assert "unknown_task" in preview.stdout
        refused = await run("agents", "publish", "greet")
        assert refused.exit_code == 1
        assert [each["code"] for each in json.loads(refused.stdout)["diagnostics"]] == ["unknown_task"]

    async def test_preview(self, agent: dict[str, Any]) -> None:
        preview = await run("agents", "preview", "greet")
        assert preview.exit_code == 0
        assert "segment.hello" in preview.stdout

    async def test_test(self, agent: dict[str, Any]) -> None:
        tested = await run("agents", "test", "greet", "--input", '{"name": "Ann"}', "--format", "json")
        assert tested.exit_code == 0, tested.output
        events = [json.loads(line) for line in tested.stdout.splitlines()]
        assert events[-1]["output"] == {"bye": {"text": "Hello Ann, bye"}}
        one = await run("agents", "test", "greet", "--step", "bye", "--pins", '{"hello": {"text": "Moin"}}')
        assert one.exit_code == 0
        assert "  bye  success" in one.stdout
        assert (await run("agents", "test", "greet", "--input", '{"name": 7}')).exit_code == 1

    async def test_archive(self, agent: dict[str, Any]) -> None:
        assert (await run("agents", "publish", "greet")).exit_code == 0
        assert json.loads((await run("agents", "archive", "greet")).stdout)["status"] == "archived"
        assert json.loads((await run("agents", "archive", "greet", "--undo")).stdout)["status"] == "deployed"
        assert (await run("agents", "delete", "greet")).exit_code == 1

    async def test_delete(self, agent: dict[str, Any]) -> None:
        assert (await run("agents", "delete", "greet")).stdout == "deleted\n"
        assert (await run("agents", "delete", agent["id"])).exit_code == 1

    @pytest.mark.parametrize("text", ["{", "[]"])
    async def test_a_file_that_is_no_workflow(self, agent: dict[str, Any], tmp_path: Path, text: str) -> None:
        file = tmp_path / "wrong.json"
        file.write_text(text)
        assert (await run("agents", "push", "greet", str(file))).exit_code == 2


class TestWorkflows:
    async def test_validate(self, server: str, tmp_path: Path) -> None:
        assert (await run("workflows", "validate", write(tmp_path, workflow()))).exit_code == 0
        wrong = await run("workflows", "validate", write(tmp_path, workflow(tasks=[])))
        assert wrong.exit_code == 1
        assert json.loads(wrong.stdout)["diagnostics"]

    async def test_pause_and_resume(self, server: str, control_plane: ControlPlane) -> None:
        await control_plane.publish()
        assert json.loads((await run("workflows", "pause", "greet")).stdout)["paused_at"] is not None
        assert json.loads((await run("workflows", "resume", "greet")).stdout)["paused_at"] is None
