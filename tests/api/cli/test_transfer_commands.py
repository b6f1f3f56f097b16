"""agent-factory export and import, against a real server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.api.agents.designing import AGENTS, become, make_agent
from tests.api.cli.test_remote_commands import own_home, run, server  # noqa: F401  fixtures
from tests.api.control_plane import ControlPlane, workflow

pytestmark = [pytest.mark.platform, pytest.mark.usefixtures("server")]


@pytest.fixture(autouse=True)
async def content(control_plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A published agent, a template and a variable, and a folder to write to."""
    monkeypatch.chdir(tmp_path)
    agent = await make_agent(control_plane)
    await agent.publish()
    await control_plane.api.post("/api/v1/templates", json={"name": "T\n", "workflow": {}})
    await control_plane.api.put("/api/v1/variables/v", json={"value": 1})


async def test_export(control_plane: ControlPlane, tmp_path: Path) -> None:
    assert (await run("export")).stdout == "Wrote organisation.zip.\n"
    exported = await control_plane.api.get("/api/v1/export")
    assert (tmp_path / "organisation.zip").read_bytes() == exported.content
    assert (await run("export", "greet", "--no-versions")).stdout == "Wrote greet.zip.\n"
    (agent,) = (await control_plane.api.get(AGENTS)).json()["agents"]
    one = await control_plane.api.get(f"{AGENTS}/{agent['id']}/export", params={"versions": False})
    assert (tmp_path / "greet.zip").read_bytes() == one.content
    again = await run("export", "greet")
    assert (again.exit_code, "--force" in again.stderr) == (2, True)
    assert (await run("export", "greet", "--force")).exit_code == 0
    assert (tmp_path / "greet.zip").read_bytes() != one.content
    assert (await run("export", "nobody")).exit_code == 1


async def test_import(control_plane: ControlPlane) -> None:
    assert (await run("export", "--out", "all.zip")).exit_code == 0
    await become(control_plane, "fresh")
    lines = [f"{what}: create" for what in ("agent greet", "template T\\n", "variable default/v")]
    assert (await run("import", "all.zip", "--dry-run")).stdout.splitlines() == lines
    assert (await control_plane.api.get(AGENTS)).json()["agents"] == []
    assert (await run("import", "all.zip")).stdout.splitlines() == lines
    again = json.loads((await run("import", "all.zip", "--format", "json")).stdout)
    assert again["changed"] is False


async def test_what_differs(control_plane: ControlPlane) -> None:
    assert (await run("export")).exit_code == 0
    agent = (await control_plane.api.get(AGENTS)).json()["agents"][0]
    changed = {"workflow": workflow(name="Newer")}
    await control_plane.api.put(f"{AGENTS}/{agent['id']}/workflow", json=changed, headers={"if-match": "*"})
    refused = await run("import", "organisation.zip")
    assert refused.exit_code == 1
    assert refused.stdout.splitlines() == [
        "agent greet: conflict (workflow)",
        "template T\\n: same",
        "variable default/v: same",
    ]
    assert "Nothing was imported" in refused.stderr
    assert (await run("import", "organisation.zip", "--dry-run")).exit_code == 1
    kept = await run("import", "organisation.zip", "--existing", "keep")
    assert (kept.exit_code, kept.stdout.splitlines()[0]) == (0, "agent greet: keep (workflow)")
    replaced = await run("import", "organisation.zip", "--existing", "replace")
    assert (replaced.exit_code, replaced.stdout.splitlines()[0]) == (0, "agent greet: replace (workflow)")


async def test_no_archive(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"no zip")
    refused = await run("import", "x.zip")
    assert (refused.exit_code, len(refused.stderr.splitlines())) == (1, 1)
    assert (await run("import", "nowhere.zip")).exit_code == 2
