"""The store's promises, kept by HttpStore, real HTTP, this API and PostgreSQL together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

import pytest
from pydantic import JsonValue
from sqlalchemy import text

from api.executions.service import ExecutionService
from api.organizations.repository import OrganizationRepository
from api.releases.repository import ArtifactRepository
from api.workflows.repository import NewVersion, WorkflowRepository
from compiler.plan import Plan, plan_digest
from operators.execution.http import HttpStore
from operators.settings import RuntimeSettings
from tests.api.control_plane import ControlPlane
from tests.operators.execution.store_contract import StoreContract

pytestmark = pytest.mark.platform


@dataclass
class HttpWorld:
    """The store and its levers, which reach into the database."""

    store: HttpStore
    plane: ControlPlane

    async def accept(self, plan: Plan, *, input: JsonValue = None) -> str:
        content = plan.to_bytes()
        async with self.plane.database.system() as session:
            organization_id = await OrganizationRepository(session).ensure(plan.organization)
            workflows = WorkflowRepository(session, organization_id)
            if await workflows.current(plan.workflow_id) is None:
                agent_id = await workflows.ensure(plan.workflow_id, plan.name)
                await ArtifactRepository(session, organization_id).add(content)
                version = NewVersion("1", b"{}", plan_digest(content), "0" * 64, plan.dag_id)
                await workflows.add_version(agent_id, 1, version)
            state = self.plane.app.state
            service = ExecutionService(session, organization_id, state.settings, state.plans)
            accepted = await service.accept(plan.workflow_id, input=input, trigger={"type": "manual"})
        return str(accepted.execution_id)

    async def cancel(self, execution_id: str) -> None:
        async with self.plane.database.system() as session:
            organization_id = await OrganizationRepository(session).ensure("test")
            state = self.plane.app.state
            await ExecutionService(session, organization_id, state.settings, state.plans).cancel(UUID(execution_id))

    async def pass_time(self, seconds: float) -> None:
        await self._execute("UPDATE leases SET expires_at = expires_at - :age * interval '1 s'", age=seconds)
        await self._execute("UPDATE approvals SET due_at = due_at - :age * interval '1 s'", age=seconds)

    async def _execute(self, statement: str, **values: object) -> None:
        async with self.plane.database.system() as session:
            await session.execute(text(statement), values)


class TestHttpStore(StoreContract):
    @pytest.fixture
    async def world(self, control_plane: ControlPlane, served_url: str) -> AsyncIterator[HttpWorld]:
        async with HttpStore(RuntimeSettings(served_url, "runtime-token")) as store:
            yield HttpWorld(store, control_plane)
