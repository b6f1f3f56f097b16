"""The commands of docs/designer.md, one after another against a control plane."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.api.control_plane import ControlPlane

pytestmark = pytest.mark.platform

ROOT = Path(__file__).parents[3]
_BASH = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# As in the page, and each refusal ends the script; a line stands behind each answer.
_PRELUDE = 'set -euo pipefail\ncurl() { command curl --fail-with-body -w "\\n===\\n" "$@"; }\n'


async def run_page(page: str, served_url: str, tmp_path: Path) -> str:
    """Run every command of a page, one after another; return what they print."""
    blocks = _BASH.findall((ROOT / "docs" / page).read_text())
    script = _PRELUDE + "\n".join(blocks).replace("/tmp/", f"{tmp_path}/")
    environment = {
        "API": f"{served_url}/api/v1",
        "TOKEN": "api-token",
        "CLI": str(Path(sys.executable).with_name("agent-factory")),
        "AGENT_FACTORY_API_URL": served_url,
        "AGENT_FACTORY_API_TOKEN": "api-token",
        "AGENT_FACTORY_HOME": str(tmp_path),
        "PATH": "/usr/bin:/bin",
    }
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", script, cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, error = (stream.decode() for stream in await process.communicate())
    assert process.returncode == 0, out + error
    return out


def answers_in(out: str) -> list[Any]:
    """Return the JSON objects that curl was answered."""
    return [json.loads(answer) for answer in out.split("\n===\n") if answer.startswith("{")]


async def test_every_command_is_answered(control_plane: ControlPlane, served_url: str, tmp_path: Path) -> None:
    out = await run_page("designer.md", served_url, tmp_path)
    answers = answers_in(out)
    events = [line.removeprefix("event: ") for line in out.splitlines() if line.startswith("event: ")]
    assert events == ["started", "step", "step", "finished", "started", "step", "finished"]
    assert [answer["version"] for answer in answers if "release" in answer] == [1, 2, 3]
    [diff] = [answer for answer in answers if "edges" in answer]
    assert [change["path"] for task in diff["tasks"]["changed"] for change in task["changes"]] == ["/config/prompt"]
    assert answers[-2]["status"] == "archived"
    assert answers[-1]["status"] == "deployed"
