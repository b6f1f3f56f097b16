"""Whatever a test brings in, another organisation has rows of the same names, and they stay as they are."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from api.settings import Settings
from tests.api.agents.designing import beside_a_neighbour
from tests.api.control_plane import ControlPlane


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """The settings of the other tests, with a secret key: variables can be secret."""
    return settings.model_copy(update={"secret_key": SecretStr("k" * 32)})


@pytest.fixture
async def control_plane(control_plane: ControlPlane) -> AsyncIterator[ControlPlane]:
    async for plane in beside_a_neighbour(control_plane):
        yield plane
