"""Whatever a test makes, another organisation has rows of the same names, and they stay as they are."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.api.agents.designing import NEIGHBOUR, become, beside_a_neighbour, rows_of
from tests.api.control_plane import ControlPlane, workflow

TEMPLATES = "/api/v1/templates"
THEIRS = {"name": "Greeter", "description": "Theirs.", "category": "greetings", "tags": ["hello"]}


@pytest.fixture
async def control_plane(control_plane: ControlPlane) -> AsyncIterator[ControlPlane]:
    async for plane in beside_a_neighbour(control_plane):
        await become(plane, NEIGHBOUR)
        made = await plane.api.post(TEMPLATES, json=THEIRS | {"workflow": workflow(name="Theirs")})
        assert made.status_code == 201, made.text
        await become(plane, "default")
        before = (await rows_of(plane, NEIGHBOUR))["agent_templates"]
        assert len(before) == 1
        yield plane
        assert (await rows_of(plane, NEIGHBOUR))["agent_templates"] == before
