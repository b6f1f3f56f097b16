"""A sandbox with every protection this machine permits, and one without namespaces."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from operators.sandbox.processes import become_subreaper, descendants
from operators.sandbox.sandbox import Sandbox


@pytest.fixture(params=[True, False], ids=["namespaces", "plain"])
async def sandbox(request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    """A sandbox; at its end no process of it may be left, wherever it was reparented to."""
    become_subreaper()
    before = set(descendants(os.getpid()))
    sandbox = Sandbox(namespaces=request.param)
    yield sandbox
    await sandbox.close()
    # One that was killed may still be on its way out.
    async with asyncio.timeout(10):
        while not set(descendants(os.getpid())) <= before:
            await asyncio.sleep(0.01)
