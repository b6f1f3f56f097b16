"""A control plane whose organisation asks for reviews, and people who write and approve."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from pydantic import SecretStr

from api.settings import Settings
from tests.api.agents.designing import beside_a_neighbour
from tests.api.control_plane import ControlPlane
from tests.api.identity.people import People


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """The settings of the other tests, with a secret key: people log in."""
    return settings.model_copy(update={"secret_key": SecretStr("k" * 32)})


@pytest.fixture
async def control_plane(control_plane: ControlPlane) -> AsyncIterator[ControlPlane]:
    async for plane in beside_a_neighbour(control_plane):
        yield plane


@pytest.fixture
def people(control_plane: ControlPlane) -> People:
    return People(control_plane)


@pytest.fixture
async def ann(control_plane: ControlPlane, people: People) -> httpx.AsyncClient:
    """Who writes; the operator's clients of :mod:`tests.api.agents.designing` act as her from here on."""
    client = await people.client("team_lead", email="ann@x.test")
    control_plane.api = client
    return client


@pytest.fixture
async def ben(people: People) -> httpx.AsyncClient:
    """Who approves, and asks for reviews of all."""
    client = await people.client("organization_owner", email="ben@x.test")
    assert (await client.put("/api/v1/reviews/policy", json={"required": True})).status_code == 200
    return client
