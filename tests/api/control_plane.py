"""What the tests of the control plane do with it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx
from fastapi import FastAPI

from api.database import Database
from api.identity.callers import Authenticator
from operators.execution.records import StepRecord

WORKFLOW_ID = "greet"


def workflow(**changes: Any) -> dict[str, Any]:
    """Return a small workflow with a webhook: two light steps; ``changes`` replace top-level keys."""
    return {
        "id": WORKFLOW_ID,
        "name": "Greeter",
        "version": "1.0",
        "trigger": {"type": "webhook", "config": {"path": "/webhook/greet", "method": "POST"}},
        "input": {
            "type": "object",
            "properties": {"name": {"type": "string"}},
            "required": ["name"],
        },
        "tasks": [
            {
                "id": "hello",
                "type": "transform",
                "config": {"set": {"text": "Hello {{ input.name }}"}},
                "next": ["bye"],
            },
            {"id": "bye", "type": "transform", "config": {"set": {"text": "{{ hello.output.text }}, bye"}}},
        ],
    } | changes


def webhook(path: str, **config: Any) -> dict[str, Any]:
    """Return a webhook trigger."""
    return {"type": "webhook", "config": {"path": path, "method": "POST"} | config}


class ControlPlane:
    """A running application and clients of its doors."""

    def __init__(self, app: FastAPI, transport: httpx.AsyncBaseTransport) -> None:
        self.app = app
        self.transport = transport
        self.public = self._client("")
        self.api = self._client("api-token")
        self.runtime = self._client("runtime-token")

    @property
    def database(self) -> Database:
        """The application's database."""
        database: Database = self.app.state.database
        return database

    @property
    def organization_id(self) -> UUID:
        """The organisation that ``api`` acts for."""
        organization_id: UUID = self.app.state.organization_id
        return organization_id

    def act_for(self, organization_id: UUID) -> None:
        """Let ``api`` act for another organisation from now on."""
        state = self.app.state
        state.organization_id = organization_id
        state.authenticator = Authenticator(state.settings, state.database, state.keys, organization_id)

    def _client(self, token: str) -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return httpx.AsyncClient(transport=self.transport, base_url="http://factory.test", headers=headers, timeout=30)

    async def __aenter__(self) -> ControlPlane:
        return self

    async def __aexit__(self, *error: object) -> None:
        for client in (self.public, self.api, self.runtime):
            await client.aclose()

    async def publish(self, document: dict[str, Any] | None = None) -> dict[str, Any]:
        """Publish a workflow; return the answer's body."""
        document = document or workflow()
        response = await self.api.post(f"/api/v1/workflows/{document['id']}/publish", json=document)
        assert response.status_code in (200, 201), response.text
        body: dict[str, Any] = response.json()
        return body

    async def execute(self, input: Any = None, workflow_id: str = WORKFLOW_ID) -> str:
        """Start a workflow; return the execution's id."""
        body = {"workflow_id": workflow_id, "input": input or {"name": "Ann"}}
        response = await self.api.post("/api/v1/workflows/execute", json=body)
        assert response.status_code == 202, response.text
        return str(response.json()["execution_id"])

    async def show(self, execution_id: str) -> dict[str, Any]:
        """Return an execution."""
        response = await self.api.get(f"/api/v1/executions/{execution_id}")
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    async def call(self, execution_id: str, action: str, body: dict[str, Any]) -> httpx.Response:
        """Make a call of the runtime API."""
        return await self.runtime.post(f"/runtime/v1/executions/{execution_id}/{action}", json=body)

    async def lease(self, execution_id: str, digest: str, **changes: Any) -> dict[str, Any]:
        """Take the lease of the first unit; return the grant."""
        response = await self.call(execution_id, "lease", lease_request(digest, **changes))
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    async def journal(self, execution_id: str, token: int, *records: StepRecord, **changes: Any) -> dict[str, Any]:
        """Journal results; return the state."""
        body = {"unit": UNIT, "token": token, "steps": [record.model_dump(mode="json") for record in records]} | changes
        response = await self.call(execution_id, "steps", body)
        assert response.status_code == 200, response.text
        state: dict[str, Any] = response.json()
        return state


UNIT = "segment.hello"


def lease_request(digest: str, **changes: Any) -> dict[str, Any]:
    """Return the body of a lease call."""
    return {
        "organization": "default",
        "workflow_id": WORKFLOW_ID,
        "unit": UNIT,
        "owner": "first",
        "plan_digest": digest,
    } | changes
