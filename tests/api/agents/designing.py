"""What the designer's tests do with the control plane."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx

from api.organizations.repository import OrganizationRepository
from tests.api.control_plane import ControlPlane, workflow

AGENTS = "/api/v1/agents"


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
    before: UUID = plane.app.state.organization_id
    async with plane.database.transaction() as session:
        plane.app.state.organization_id = await OrganizationRepository(session).ensure(slug)
    return before
