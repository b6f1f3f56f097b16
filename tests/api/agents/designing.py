"""What the designer's tests do with the control plane."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from api.organizations.repository import OrganizationRepository
from tests.api.control_plane import ControlPlane, workflow

AGENTS = "/api/v1/agents"
NEIGHBOUR = "neighbour"


class Agent:
    """An agent that a test made."""

    def __init__(self, plane: ControlPlane, body: dict[str, Any]) -> None:
        self.plane = plane
        self.body = body
        self.id: str = body["id"]
        self.url = f"{AGENTS}/{self.id}"

    async def show(self) -> dict[str, Any]:
        response = await self.plane.api.get(self.url)
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    async def etag(self) -> str:
        return (await self.plane.api.get(f"{self.url}/workflow")).headers["etag"]

    async def put(self, document: dict[str, Any], *, etag: str | None = None, **more: Any) -> httpx.Response:
        headers = {"if-match": etag or await self.etag()}
        return await self.plane.api.put(f"{self.url}/workflow", json={"workflow": document, **more}, headers=headers)

    async def publish(self, document: dict[str, Any] | None = None) -> dict[str, Any]:
        if document is not None:
            assert (await self.put(document)).status_code == 200
        response = await self.post("publish", headers={"if-match": await self.etag()})
        assert response.status_code in (200, 201), response.text
        body: dict[str, Any] = response.json()
        return body

    async def post(self, action: str, **arguments: Any) -> httpx.Response:
        return await self.plane.api.post(f"{self.url}/{action}", **arguments)


async def make_agent(plane: ControlPlane, document: dict[str, Any] | None = None, **fields: Any) -> Agent:
    """Make an agent through the API; its draft is the small workflow."""
    body = {"name": "Greeter", "workflow": document or workflow()} | fields
    response = await plane.api.post(AGENTS, json=body)
    assert response.status_code == 201, response.text
    return Agent(plane, response.json())


async def become(plane: ControlPlane, slug: str) -> UUID:
    """Have the operator's token act for another organisation; return the one it acted for."""
    state, before = plane.app.state, plane.organization_id
    async with plane.database.system() as session:
        organization_id = await OrganizationRepository(session).ensure(slug)
    state.settings = state.settings.model_copy(update={"organization": slug})
    plane.act_for(organization_id)
    return before


async def furnish_neighbour(plane: ControlPlane) -> Agent:
    """Give another organisation an agent with the workflow id that tests use, published, and with a newer draft."""
    await become(plane, NEIGHBOUR)
    agent = await make_agent(plane, name="Neighbour's", description="Theirs.")
    assert (await agent.post("publish", headers={"if-match": "*"})).status_code == 201
    assert (await agent.put(workflow(name="Theirs"), etag="*", canvas={"x": 1})).status_code == 200
    async with plane.database.system() as session:
        await set_variable(session, NEIGHBOUR, "greeting", "Theirs")
    await become(plane, "default")
    return agent


async def set_variable(session: AsyncSession, slug: str, name: str, value: str) -> None:
    """Give an organisation a variable."""
    statement = (
        "INSERT INTO variables (organization_id, name, value)"
        " SELECT id, :name, to_json(CAST(:value AS text)) FROM organizations WHERE slug = :slug"
    )
    await session.execute(text(statement), {"slug": slug, "name": name, "value": value})


async def rows_of(plane: ControlPlane, slug: str) -> dict[str, list[str]]:
    """Return every row of an organisation, by table."""
    async with plane.database.system() as session:
        tables = await session.scalars(
            text(
                "SELECT table_name FROM information_schema.columns WHERE column_name = 'organization_id'"
                " AND table_schema = 'public'"
            )
        )
        found = {}
        for table in sorted(tables):
            query = f"SELECT t.* FROM {table} t JOIN organizations o ON o.id = t.organization_id WHERE o.slug = :slug"
            found[table] = sorted(repr(row) for row in await session.execute(text(query), {"slug": slug}))
    return found


async def beside_a_neighbour(plane: ControlPlane) -> AsyncIterator[ControlPlane]:
    """Yield a control plane in which another organisation has rows of the same names, and check that they stay."""
    await furnish_neighbour(plane)
    before = await rows_of(plane, NEIGHBOUR)
    assert before["agents"]
    assert before["agent_workflows"]
    assert before["workflow_versions"]
    yield plane
    assert await rows_of(plane, NEIGHBOUR) == before
