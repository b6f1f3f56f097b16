"""agent-factory approvals, against a real server."""

from __future__ import annotations

import json

import pytest

from tests.api.approvals.test_approval_endpoints import begin
from tests.api.cli.test_remote_commands import own_home, run, server  # noqa: F401  fixtures
from tests.api.control_plane import ControlPlane

pytestmark = [pytest.mark.platform, pytest.mark.usefixtures("server")]


async def test_list(control_plane: ControlPlane) -> None:
    empty = await run("approvals", "list")
    assert (empty.exit_code, empty.stdout, empty.stderr) == (0, "", "No approval waits for a decision.\n")
    one, other = await begin(control_plane, title="Pay\n\x1b[31m?"), await begin(control_plane)
    await other.decide("reject")
    assert (await run("approvals", "list")).stdout == f"{one.id}  pending  greet/hello  Pay\\n\\x1b[31m?\n"
    everything = (await run("approvals", "list", "--all")).stdout.splitlines()
    assert [line.split()[1] for line in everything] == ["rejected", "pending"]
    listed = json.loads((await run("approvals", "list", "--format", "json")).stdout)
    assert [approval["id"] for approval in listed["approvals"]] == [one.id]


async def test_show(control_plane: ControlPlane) -> None:
    asked = await begin(control_plane, body="line 1\nline 2", assignees=["ann"], timeout_seconds=60)
    lines = (await run("approvals", "show", asked.id)).stdout.splitlines()
    assert lines[0] == "Pay?: pending"
    assert lines[2:5] == ["  | line 1", "  | line 2", "  assignees: ann"]
    shown = json.loads((await run("approvals", "show", asked.id, "--format", "json")).stdout)
    assert shown == await asked.show()
    assert (await run("approvals", "show", "a/b")).exit_code == 1


@pytest.mark.parametrize(("command", "decision"), [("approve", "approve"), ("reject", "reject")])
async def test_decide(control_plane: ControlPlane, command: str, decision: str) -> None:
    asked = await begin(control_plane, assignees=["ann"])
    refused = await run("approvals", command, asked.id, "--by", "bob")
    assert (refused.exit_code, refused.stderr.startswith("Error: `by` must be one")) == (1, True)
    result = await run("approvals", command, asked.id, "--by", "ann", "--comment", "fine")
    assert result.exit_code == 0, result.output
    shown = await asked.show()
    expected = (decision, "ann", "fine", "cli")
    assert tuple(shown[name] for name in ("decision", "by", "comment", "via")) == expected


async def test_somebody_was_first(control_plane: ControlPlane) -> None:
    asked = await begin(control_plane)
    await asked.decide("reject", by="ann")
    result = await run("approvals", "approve", asked.id)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: The approval was decided before, by 'ann' at ")


async def test_an_execution_names_what_it_waits_for(control_plane: ControlPlane) -> None:
    asked = await begin(control_plane)
    lines = (await run("executions", "show", asked.execution_id)).stdout.splitlines()
    assert lines[1] == f"  hello  pending  waits for approval {asked.id}"
