"""Whatever a test makes, another organisation has rows of the same names, and they stay as they are."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.api.agents.designing import beside_a_neighbour
from tests.api.control_plane import ControlPlane


@pytest.fixture
async def control_plane(control_plane: ControlPlane) -> AsyncIterator[ControlPlane]:
    async for plane in beside_a_neighbour(control_plane):
        yield plane
