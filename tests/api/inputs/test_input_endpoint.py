"""POST /api/v1/workflows/{id}/inputs."""

from __future__ import annotations

from uuid import UUID

import pytest

from api.organizations.repository import OrganizationRepository
from tests.api.control_plane import WORKFLOW_ID, ControlPlane

pytestmark = pytest.mark.platform

PATH = f"/api/v1/workflows/{WORKFLOW_ID}/inputs"
BODY = {"input": {"name": "Ann"}}


async def test_anonymous(control_plane: ControlPlane) -> None:
    for client in (control_plane.public, control_plane.runtime):
        assert (await client.post(PATH, json=BODY)).status_code == 401


async def test_valid(control_plane: ControlPlane) -> None:
    await control_plane.publish()
    response = await control_plane.api.post(PATH, json=BODY)
    assert response.status_code == 201
    assert set(response.json()) == {"input_id"}
    assert UUID(response.json()["input_id"])


async def test_input_that_breaks_the_schema(control_plane: ControlPlane) -> None:
    await control_plane.publish()
    for body in ({"input": {"name": 7}}, {"input": {}}, {}):
        response = await control_plane.api.post(PATH, json=body)
        assert (response.status_code, response.json()["code"]) == (422, "invalid_input")


async def test_unknown_key(control_plane: ControlPlane) -> None:
    await control_plane.publish()
    response = await control_plane.api.post(PATH, json=BODY | {"inputs": {}})
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")


async def test_unpublished(control_plane: ControlPlane) -> None:
    assert (await control_plane.api.post(PATH, json=BODY)).status_code == 404


async def test_other_organisation(control_plane: ControlPlane) -> None:
    await control_plane.publish()
    async with control_plane.database.system() as session:
        control_plane.act_for(await OrganizationRepository(session).ensure("other"))
    assert (await control_plane.api.post(PATH, json=BODY)).status_code == 404
