"""agent-factory reviews, against a real server."""

from __future__ import annotations

import json

import pytest
from pydantic import SecretStr

from api.settings import Settings
from tests.api.agents.designing import Agent, make_agent
from tests.api.cli.test_remote_commands import own_home, run, server  # noqa: F401  fixtures
from tests.api.control_plane import ControlPlane, workflow
from tests.api.identity.people import People

pytestmark = [pytest.mark.platform, pytest.mark.usefixtures("server")]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """The settings of the other tests, with a secret key: people log in."""
    return settings.model_copy(update={"secret_key": SecretStr("k" * 32)})


@pytest.fixture
async def agent(control_plane: ControlPlane) -> Agent:
    return await make_agent(control_plane)


async def become_ben(control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the commands act as a person who wrote nothing."""
    client = await People(control_plane).client("team_lead", email="ben@x.test")
    monkeypatch.setenv("AGENT_FACTORY_API_TOKEN", client.headers["authorization"].removeprefix("Bearer "))


async def test_policy() -> None:
    assert json.loads((await run("reviews", "policy")).stdout)["required"] is False
    assert json.loads((await run("reviews", "policy", "--required")).stdout)["required"] is True
    assert json.loads((await run("reviews", "policy")).stdout)["required"] is True
    assert json.loads((await run("reviews", "policy", "--not-required")).stdout)["required"] is False


async def test_from_a_request_to_a_publish(
    control_plane: ControlPlane, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await run("reviews", "list")).stderr == "No review waits for a decision.\n"
    assert (await run("reviews", "policy", "--required")).exit_code == 0
    asked = await run("reviews", "request", "greet", "--note", "Look\nat \x1b[31mit")
    assert asked.exit_code == 0, asked.output
    review = json.loads(asked.stdout)
    refused = await run("reviews", "approve", review["id"])
    assert (refused.exit_code, "logged in" in refused.stderr) == (1, True)
    assert (await run("agents", "publish", "greet")).exit_code == 1

    await become_ben(control_plane, monkeypatch)
    assert (await run("reviews", "list", "--agent", "greet")).stdout == f"{review['id']}  open  greet  draft\n"
    lines = (await run("reviews", "show", review["id"])).stdout.splitlines()
    assert lines[0] == "greet, draft: open"
    assert lines[2] == f"  fingerprint {review['fingerprint']}"
    assert lines[4:] == ["  written by operator", "  | Look", "  | at \\x1b[31mit"]
    shown = json.loads((await run("reviews", "show", review["id"], "--format", "json")).stdout)
    assert (shown["workflow"], shown["stale"]) == (workflow(), False)
    other = await run("reviews", "approve", review["id"], "--fingerprint", "0" * 64)
    assert (other.exit_code, "fingerprint" in other.stderr) == (1, True)
    approved = await run("reviews", "approve", review["id"], "--comment", "Good.")
    assert json.loads(approved.stdout)["status"] == "approved"
    assert (await run("agents", "publish", "greet")).exit_code == 0
    assert (await run("reviews", "list")).stdout == ""
    assert (await run("reviews", "list", "--all")).stdout == f"{review['id']}  approved  greet  draft\n"
    lines = (await run("reviews", "show", review["id"])).stdout.splitlines()
    assert lines[-1].endswith(": Good.")


async def test_reject_and_what_changed(
    control_plane: ControlPlane, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    await agent.publish()
    review = json.loads((await run("reviews", "request", agent.id, "--version", "1")).stdout)
    draft = json.loads((await run("reviews", "request", agent.id)).stdout)
    await agent.put(workflow(name="Newer"))
    await become_ben(control_plane, monkeypatch)
    assert json.loads((await run("reviews", "reject", review["id"])).stdout)["status"] == "rejected"
    listed = json.loads((await run("reviews", "list", "--all", "--format", "json")).stdout)["reviews"]
    assert [(each["status"], each["version"]) for each in listed] == [("open", None), ("rejected", 1)]
    assert (await run("reviews", "approve", draft["id"])).exit_code == 1
    assert (await run("reviews", "show", draft["id"])).stdout.startswith("greet, draft: open, stale")


async def test_unknown() -> None:
    for command in (["show"], ["approve"], ["reject"], ["request"]):
        result = await run("reviews", *command, "a/b")
        assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
