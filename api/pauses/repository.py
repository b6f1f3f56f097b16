"""SQL of pauses."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import case, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from api.models import Agent, Organization, OutboxEntry


class PauseRepository:
    """Pauses of one organisation and of its workflows. A pause that is asked for twice began the first time."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    async def pause(self) -> None:
        """Pause the organisation."""
        await self._set(Organization, _pause(Organization), Organization.id == self._organization_id)

    async def resume(self) -> None:
        """End the organisation's pause; one that is not paused stays as it is."""
        await self._set(Organization, _resume(Organization), Organization.id == self._organization_id)

    async def pause_workflow(self, workflow_id: str) -> bool:
        """Pause a workflow; False if there is none."""
        return await self._set(Agent, _pause(Agent), *self._is(workflow_id))

    async def resume_workflow(self, workflow_id: str) -> bool:
        """End a workflow's pause; False if there is no such workflow."""
        return await self._set(Agent, _resume(Agent), *self._is(workflow_id))

    async def paused_at(self) -> datetime | None:
        """Return since when the organisation is paused."""
        return await self._session.scalar(
            select(Organization.paused_at).where(Organization.id == self._organization_id)
        )

    async def paused_workflows(self) -> dict[str, datetime]:
        """Return the paused workflows and since when."""
        query = (
            select(Agent.workflow_id, Agent.paused_at)
            .where(Agent.organization_id == self._organization_id, Agent.paused_at.is_not(None))
            .order_by(Agent.workflow_id)
        )
        return {name: since for name, since in await self._session.execute(query) if since is not None}

    async def workflow_paused_at(self, workflow_id: str) -> datetime | None:
        """Return since when a workflow is paused."""
        return await self._session.scalar(select(Agent.paused_at).where(*self._is(workflow_id)))

    async def holds(self, agent_id: UUID) -> bool:
        """Return whether a workflow or its organisation is paused."""
        query = select(or_(Agent.paused_at.is_not(None), Organization.paused_at.is_not(None))).where(
            Agent.organization_id == self._organization_id,
            Agent.id == agent_id,
            Organization.id == Agent.organization_id,
        )
        return bool(await self._session.scalar(query))

    async def waiting(self) -> int:
        """Return how many executions Airflow has not been told of."""
        query = select(func.count()).where(
            OutboxEntry.organization_id == self._organization_id,
            OutboxEntry.kind != "stop",
            OutboxEntry.dead.is_(False),
        )
        return await self._session.scalar(query) or 0

    def _is(self, workflow_id: str) -> tuple[Any, ...]:
        return (Agent.organization_id == self._organization_id, Agent.workflow_id == workflow_id)

    async def _set(self, table: type[Organization | Agent], values: dict[str, Any], *where: Any) -> bool:
        updated = await self._session.execute(
            update(table).where(*where).values(values).returning(table.id).execution_options(synchronize_session=False)
        )
        return updated.first() is not None


def _pause(table: type[Organization | Agent]) -> dict[str, Any]:
    return {"paused_at": func.coalesce(table.paused_at, func.clock_timestamp())}


def _resume(table: type[Organization | Agent]) -> dict[str, Any]:
    resumed = case((table.paused_at.is_not(None), func.clock_timestamp()), else_=table.resumed_at)
    return {"paused_at": None, "resumed_at": resumed}
