"""Whatever a test makes, another organisation has rows of the same names, and they stay as they are."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.api.agents.designing import NEIGHBOUR, become, furnish_neighbour, rows_of
from tests.api.control_plane import ControlPlane, workflow

TEMPLATES = "/api/v1/templates"
THEIRS = {"name": "Greeter", "description": "Theirs.", "category": "greetings", "tags": ["hello"]}


@pytest.fixture
async def control_plane(control_plane: ControlPlane) -> AsyncIterator[ControlPlane]:
    await furnish_neighbour(control_plane)
    await become(control_plane, NEIGHBOUR)
    made = await control_plane.api.post(TEMPLATES, json=THEIRS | {"workflow": workflow(name="Theirs")})
    assert made.status_code == 201, made.text
    await become(control_plane, "default")
    before = await rows_of(control_plane, NEIGHBOUR)
    assert before["agent_templates"]
    yield control_plane
    assert await rows_of(control_plane, NEIGHBOUR) == before
