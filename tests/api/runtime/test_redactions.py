"""What workers are told to mask: the secrets of the execution's organisation, by the way that credentials go."""

from __future__ import annotations

import logging
from uuid import uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from api.settings import Settings
from tests.api.control_plane import ControlPlane
from tests.api.identity.people import People

pytestmark = pytest.mark.platform

SECRET, OTHER = "s3cr3t-value-of-a-token", "of-another-organisation"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"secret_key": SecretStr("k" * 32), "openai_api_key": SecretStr(" model-key\n")})


async def put(plane: ControlPlane, name: str, value: str, *, secret: bool, environment: str = "default") -> None:
    query = {"environment": environment}
    answer = await plane.api.put(f"/api/v1/variables/{name}", params=query, json={"value": value, "secret": secret})
    assert answer.status_code == 201, answer.text


async def path_of(plane: ControlPlane) -> str:
    await plane.publish()
    return f"/runtime/v1/executions/{await plane.execute()}/credentials/redactions"


async def test_secrets_of_the_organisation_and_nothing_else(
    control_plane: ControlPlane, caplog: pytest.LogCaptureFixture
) -> None:
    other = await People(control_plane).client("organization_owner", "theirs")
    answer = await other.put("/api/v1/variables/token", json={"value": OTHER, "secret": True})
    assert answer.status_code == 201, answer.text
    await put(control_plane, "token", SECRET, secret=True)
    await put(control_plane, "token", "of-staging", secret=True, environment="staging")
    await put(control_plane, "region", "readable", secret=False)
    with caplog.at_level(logging.DEBUG):
        answer = await control_plane.runtime.get(await path_of(control_plane))
    assert answer.status_code == 200, answer.text
    assert sorted(answer.json()["values"]) == ["model-key", "of-staging", SECRET]
    assert SECRET not in caplog.text


async def test_what_cannot_be_read_is_no_error(control_plane: ControlPlane) -> None:
    await put(control_plane, "token", SECRET, secret=True)
    async with control_plane.database.system() as session:
        await session.execute(text("UPDATE variables SET name = 'moved'"))
    answer = await control_plane.runtime.get(await path_of(control_plane))
    assert answer.json() == {"values": ["model-key"]}


async def test_without_a_key_there_are_no_secrets(control_plane: ControlPlane, settings: Settings) -> None:
    changes = {"secret_key": None, "openai_api_key": None}
    control_plane.app.state.settings = settings.model_copy(update=changes)
    assert (await control_plane.runtime.get(await path_of(control_plane))).json() == {"values": []}


async def test_only_workers_are_told(control_plane: ControlPlane) -> None:
    path = await path_of(control_plane)
    for caller in (control_plane.public, control_plane.api):
        assert (await caller.get(path)).status_code == 401


async def test_unknown_execution(control_plane: ControlPlane) -> None:
    answer = await control_plane.runtime.get(f"/runtime/v1/executions/{uuid4()}/credentials/redactions")
    assert answer.status_code == 404
