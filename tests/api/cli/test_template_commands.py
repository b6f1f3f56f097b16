"""agent-factory templates, against a real server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from api.templates.library import TEMPLATES
from tests.api.agents.designing import make_agent
from tests.api.cli.test_remote_commands import own_home, run, server, write  # noqa: F401  fixtures
from tests.api.control_plane import ControlPlane, workflow

pytestmark = [pytest.mark.platform, pytest.mark.usefixtures("server")]


async def test_public_ones(control_plane: ControlPlane) -> None:
    lines = (await run("templates", "list")).stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(TEMPLATES)
    assert lines[0] == "support_triage  public  Support triage (support, #webhook, #ai)"
    nothing = await run("templates", "list", "--source", "own")
    assert (nothing.exit_code, nothing.stdout, nothing.stderr) == (0, "", "No templates.\n")
    shown = json.loads((await run("templates", "show", "support_triage")).stdout)
    assert shown["workflow"]["id"] == "support_triage"
    made = json.loads((await run("templates", "use", "support_triage", "First line")).stdout)
    assert (made["workflow_id"], made["status"]) == ("first_line", "draft")
    refused = await run("templates", "delete", "support_triage")
    assert (refused.exit_code, "stays as it is" in refused.stderr) == (1, True)


async def test_own_ones(control_plane: ControlPlane, tmp_path: Path) -> None:
    words = ("--category", "mail", "--tag", "a", "--tag", "b", "--description", "D", "--example", '{"name": "Ann"}')
    made = await run("templates", "create", "Two\nlines", "--workflow", write(tmp_path, workflow()), *words)
    assert made.exit_code == 0, made.output
    template = json.loads(made.stdout)
    assert (template["workflow"], template["input_example"], template["tags"]) == (
        workflow(),
        {"name": "Ann"},
        ["a", "b"],
    )
    line = f"{template['id']}  own  Two\\nlines (mail, #a, #b)"
    for asked in (["--tag", "a"], ["--category", "mail"], ["--search", "two"], ["--source", "own"]):
        assert (await run("templates", "list", *asked)).stdout == f"{line}\n"
    listed = json.loads((await run("templates", "list", "--source", "own", "--format", "json")).stdout)
    assert [each["id"] for each in listed["templates"]] == [template["id"]]
    used = json.loads((await run("templates", "use", "Two\nlines", "Used", "--id", "mine")).stdout)
    assert (used["workflow_id"], used["description"]) == ("mine", "D")
    taken = await run("templates", "use", template["id"], "Mine")
    assert (taken.exit_code, "'mine'" in taken.stderr) == (1, True)
    assert (await run("templates", "delete", "Two\nlines")).stdout == "deleted\n"
    unknown = await run("templates", "show", "Two\nlines")
    assert (unknown.exit_code, len(unknown.stderr.splitlines())) == (1, 1)


async def test_of_an_agent(control_plane: ControlPlane) -> None:
    agent = await make_agent(control_plane)
    await agent.publish()
    await agent.put(workflow(name="Newer"))
    draft = await run("templates", "create", "Draft", "--agent", "greet")
    assert json.loads(draft.stdout)["workflow"]["name"] == "Newer"
    version = await run("templates", "create", "Version", "--agent", agent.id, "--version", "1")
    assert json.loads(version.stdout)["workflow"]["name"] == "Greeter"


@pytest.mark.parametrize(
    "arguments", [[], ["--workflow", "nowhere.json"], ["--agent", "a", "--workflow", "b"], ["--example", "{"]]
)
async def test_wrong_use(arguments: list[str]) -> None:
    assert (await run("templates", "create", "X", *arguments)).exit_code == 2
