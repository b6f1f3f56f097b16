"""Who may not read an execution any more is told no more of it, though the stream was open before."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from pydantic import SecretStr

from api.settings import Settings
from tests.api.control_plane import ControlPlane
from tests.api.executions.test_live_events import Reader, begin
from tests.api.identity.people import People
from tests.api.identity.test_api_keys import make

pytestmark = pytest.mark.platform


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"secret_key": SecretStr("k" * 32), "event_heartbeat_seconds": 0.05})


@pytest.fixture
def people(control_plane: ControlPlane) -> People:
    return People(control_plane)


async def token_of(people: People, kind: str) -> str:
    if kind == "operator":
        return "api-token"
    client = await people.client("developer")
    if kind == "key":
        return str((await make(client, "execution:read")).json()["key"])
    return client.headers["authorization"].removeprefix("Bearer ")


async def heartbeats(reader: Reader, count: int) -> None:
    async with asyncio.timeout(20):
        async for line in reader._lines:
            count -= line == ": heartbeat"
            if count == 0:
                return
    raise AssertionError("the stream ended")


@pytest.mark.parametrize(
    ("kind", "statement"),
    [
        ("session", "UPDATE user_sessions SET revoked_at = now()"),
        ("session", "DELETE FROM memberships"),
        ("session", "UPDATE users SET disabled_at = now()"),
        (
            "session",
            "UPDATE user_sessions SET acting_organization_id = (SELECT id FROM organizations WHERE slug = 'b')",
        ),
        ("key", "UPDATE api_keys SET revoked_at = now()"),
        ("key", "UPDATE api_keys SET permissions = '[\"relay:read\"]'"),
        ("operator", ""),
    ],
)
@pytest.mark.parametrize("busy", [False, True], ids=["quiet", "busy"])
async def test_it_ends(
    control_plane: ControlPlane, people: People, served_url: str, kind: str, statement: str, busy: bool
) -> None:
    await people.organization("b")
    token = await token_of(people, kind)
    execution_id, _ = await begin(control_plane)
    path = f"{served_url}/api/v1/executions/{execution_id}/events"
    headers = {"authorization": f"Bearer {token}"}
    news = asyncio.create_task(notify(people, execution_id)) if busy else None
    try:
        async with (
            httpx.AsyncClient(trust_env=False, timeout=30) as client,
            client.stream("GET", path, headers=headers) as response,
        ):
            reader = Reader(response)
            assert (await reader.event())[1]["status"] == "pending"
            if not busy:
                await heartbeats(reader, 3)
            if statement:
                await people.sql(statement)
            else:
                authenticator = control_plane.app.state.authenticator
                authenticator._settings = authenticator._settings.model_copy(update={"api_token": None})
            assert await reader.rest() == []
    finally:
        if news is not None:
            news.cancel()


async def notify(people: People, execution_id: str) -> None:
    """Have something to look at, more often than the stream has a pause for a heartbeat."""
    while True:
        await people.sql(f"SELECT CAST(pg_notify('agent_factory_executions', '{execution_id}') AS text)")
        await asyncio.sleep(0.01)
