"""The example of docs/client.md runs."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.platform

PAGE = Path(__file__).parents[2] / "docs" / "client.md"


async def test_example(served_url: str) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    environment = {"AGENT_FACTORY_API_URL": served_url, "AGENT_FACTORY_API_TOKEN": "api-token"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, cwd=PAGE.parents[1], env=environment, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    first, second = output.decode().splitlines()
    assert first.endswith(" pending")
    assert second == "404 not_found"
