"""SQL of agents and their drafts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Select, and_, case, delete, exists, func, null, or_, select, true, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from api.models import Agent, AgentWorkflow, Organization, WorkflowVersion

Status = Literal["draft", "active", "deployed", "archived"]

_now = func.clock_timestamp


@dataclass(frozen=True)
class FoundAgent:
    """An agent with its status, the number and source digest of its newest version, and how its draft stands."""

    id: UUID
    workflow_id: str
    name: str
    description: str | None
    created_at: datetime
    created_by: str | None
    updated_at: datetime
    archived_at: datetime | None
    status: Status
    version: int | None
    version_digest: str | None
    revision: int | None
    draft_digest: str | None
    draft_updated_at: datetime | None
    draft_updated_by: str | None


class AgentRepository:
    """Agents of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    async def page(
        self, *, search: str | None, status: Status | None, before: UUID | None, limit: int
    ) -> list[FoundAgent]:
        """Return agents, the newest first.

        :param search: Part of the name or of the workflow's id; case does not matter.
        """
        query = self._query(status).order_by(Agent.id.desc()).limit(limit)
        if search:
            query = query.where(
                or_(Agent.name.icontains(search, autoescape=True), Agent.workflow_id.icontains(search, autoescape=True))
            )
        if before is not None:
            query = query.where(Agent.id < before)
        return [FoundAgent(*row) for row in await self._session.execute(query)]

    async def find(self, agent_id: UUID) -> FoundAgent | None:
        """Return an agent."""
        row = (await self._session.execute(self._query(None).where(Agent.id == agent_id))).first()
        return FoundAgent(*row) if row else None

    async def lock(self, agent_id: UUID) -> Agent | None:
        """Return an agent's row; nobody else changes it before the transaction ends."""
        query = select(Agent).where(Agent.organization_id == self._organization_id, Agent.id == agent_id)
        return await self._session.scalar(
            query.with_for_update(key_share=True).execution_options(populate_existing=True)
        )

    async def add(self, workflow_id: str, name: str, description: str | None, by: str) -> UUID | None:
        """Store an agent; return its id, or None where another one has the workflow's id."""
        return await self._session.scalar(
            insert(Agent)
            .values(
                organization_id=self._organization_id,
                workflow_id=workflow_id,
                name=name,
                description=description,
                created_by=by,
            )
            .on_conflict_do_nothing()
            .returning(Agent.id)
        )

    async def change(self, agent_id: UUID, values: dict[str, Any]) -> bool:
        """Set columns; False where another agent has the new workflow id."""
        statement = (
            update(Agent)
            .where(Agent.organization_id == self._organization_id, Agent.id == agent_id)
            .values(**values, updated_at=_now())
        )
        try:
            async with self._session.begin_nested():
                await self._session.execute(statement)
        except IntegrityError:
            return False
        return True

    async def archive(self, agent_id: UUID, *, archived: bool) -> None:
        """Take an agent out of use, or put it back."""
        values: dict[str, Any] = {"archived_at": _now() if archived else None}
        await self.change(agent_id, values)

    async def is_published(self, agent_id: UUID) -> bool:
        """Tell whether an agent has a version."""
        query = select(
            exists().where(
                WorkflowVersion.organization_id == self._organization_id, WorkflowVersion.agent_id == agent_id
            )
        )
        return bool(await self._session.scalar(query))

    async def remove(self, agent_id: UUID) -> None:
        """Remove an agent that has no version; its draft goes along."""
        await self._session.execute(
            delete(Agent).where(Agent.organization_id == self._organization_id, Agent.id == agent_id)
        )

    def _query(self, status: Status | None) -> Select[*tuple[Any, ...]]:
        latest = (
            select(WorkflowVersion.number, WorkflowVersion.source_digest)
            .where(
                WorkflowVersion.organization_id == Agent.organization_id,
                WorkflowVersion.organization_id == self._organization_id,
                WorkflowVersion.agent_id == Agent.id,
            )
            .order_by(WorkflowVersion.number.desc())
            .limit(1)
            .lateral("latest")
        )
        is_paused = or_(Agent.paused_at.is_not(None), Organization.paused_at.is_not(None))
        state = case(
            (Agent.archived_at.is_not(None), "archived"),
            (latest.c.number.is_(None), "draft"),
            (is_paused, "active"),
            else_="deployed",
        )
        draft = and_(AgentWorkflow.organization_id == Agent.organization_id, AgentWorkflow.agent_id == Agent.id)
        query = (
            select(
                Agent.id,
                Agent.workflow_id,
                Agent.name,
                Agent.description,
                Agent.created_at,
                Agent.created_by,
                Agent.updated_at,
                Agent.archived_at,
                state,
                latest.c.number,
                latest.c.source_digest,
                AgentWorkflow.revision,
                AgentWorkflow.source_digest,
                AgentWorkflow.updated_at,
                AgentWorkflow.updated_by,
            )
            .join(Organization, Organization.id == Agent.organization_id)
            .outerjoin(AgentWorkflow, draft)
            .outerjoin(latest, true())
            .where(Agent.organization_id == self._organization_id)
        )
        return query if status is None else query.where(state == status)


class DraftRepository:
    """Drafts of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    async def get(self, agent_id: UUID) -> AgentWorkflow | None:
        """Return an agent's draft."""
        query = select(AgentWorkflow).where(
            AgentWorkflow.organization_id == self._organization_id, AgentWorkflow.agent_id == agent_id
        )
        return await self._session.scalar(query.execution_options(populate_existing=True))

    async def put(
        self, agent_id: UUID, revision: int, source: bytes, canvas: Any, by: str, authors: Collection[str] = ()
    ) -> AgentWorkflow:
        """Store a draft in the place of the one before.

        :param authors: Who else changed it since it was last published.
        """
        values = {
            "revision": revision,
            "source": source,
            "canvas": null() if canvas is None else canvas,
            "updated_at": _now(),
            "updated_by": by,
            "authors": sorted({*authors, by}),
        }
        await self._session.execute(
            insert(AgentWorkflow)
            .values(organization_id=self._organization_id, agent_id=agent_id, **values)
            .on_conflict_do_update(index_elements=["organization_id", "agent_id"], set_=values)
        )
        stored = await self.get(agent_id)
        assert stored is not None
        return stored
