"""A control plane that can log people in."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from api.settings import Settings
from tests.api.control_plane import ControlPlane
from tests.api.identity.people import People
from tests.api.identity.things import our_things


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """The settings of the other tests, with a secret key."""
    return settings.model_copy(update={"secret_key": SecretStr("k" * 32)})


@pytest.fixture
def people(control_plane: ControlPlane) -> People:
    """People of the control plane."""
    return People(control_plane)


@pytest.fixture
async def ours(people: People) -> dict[str, str]:
    """Ids of the caller's organisation's things. Its execution has ended: its events are not waited for."""
    return await our_things(people)
