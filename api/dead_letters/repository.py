"""SQL of dead letters."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, exists, func, null, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from api.executions.repository import NOT_SCHEDULED
from api.models import Agent, OutboxEntry, WorkflowExecution

_now = func.clock_timestamp


@dataclass(frozen=True)
class DeadLetter:
    """A dead outbox entry with its workflow, and its execution as far as it matters for a redelivery."""

    id: int
    execution_id: UUID
    workflow_id: str
    kind: str
    attempts: int
    error: str | None
    created_at: datetime
    buried_at: datetime | None
    status: str
    parent_execution_id: UUID | None


class DeadLetterRepository:
    """Dead letters of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    async def page(self, *, workflow_id: str | None, before: int | None, limit: int) -> list[DeadLetter]:
        """Return dead letters, the newest first."""
        query = self._query().order_by(OutboxEntry.id.desc()).limit(limit)
        if workflow_id is not None:
            query = query.where(Agent.workflow_id == workflow_id)
        if before is not None:
            query = query.where(OutboxEntry.id < before)
        return [DeadLetter(*row) for row in await self._session.execute(query)]

    async def find(self, entry_id: int) -> DeadLetter | None:
        """Return a dead letter."""
        row = (await self._session.execute(self._query().where(OutboxEntry.id == entry_id))).first()
        return DeadLetter(*row) if row else None

    async def count(self, workflow_id: str | None = None) -> int:
        """Return how many there are, of one workflow or of all."""
        query = select(func.count()).select_from(OutboxEntry).where(*self._mine(), *self._of(workflow_id))
        return await self._session.scalar(query) or 0

    async def revive(self, entry_id: int | None = None, *, workflow_id: str | None = None) -> int:
        """Have one, those of a workflow, or all delivered again; return how many. Attempts and age count anew.

        Executions that failed for it are pending again. Those that went another way meanwhile stay as they are, and so
        do those that another execution waited for: it was told that they failed.
        """
        chosen = () if entry_id is None else (OutboxEntry.id == entry_id,)
        revived = (
            update(WorkflowExecution)
            .where(
                WorkflowExecution.organization_id == self._organization_id,
                WorkflowExecution.organization_id == OutboxEntry.organization_id,
                WorkflowExecution.id == OutboxEntry.execution_id,
                WorkflowExecution.status == "failed",
                WorkflowExecution.error["code"].as_string() == NOT_SCHEDULED,
                WorkflowExecution.parent_execution_id.is_(None),
                OutboxEntry.kind != "stop",
                *self._mine(),
                *chosen,
                *self._of(workflow_id),
            )
            .values(
                status="pending",
                halted=False,
                output=null(),
                output_ref=null(),
                error=null(),
                error_handling=null(),
                completed_at=None,
                relayed_at=None,
                cancel_requested_at=None,
            )
            .returning(WorkflowExecution.id)
            .cte("revived")
        )
        delivered = await self._session.execute(
            update(OutboxEntry)
            .where(
                *self._mine(),
                *chosen,
                *self._of(workflow_id),
                or_(OutboxEntry.kind == "stop", exists().where(revived.c.id == OutboxEntry.execution_id)),
            )
            .values(
                dead=False,
                buried_at=None,
                error=None,
                attempts=0,
                refusals=0,
                created_at=_now(),
                available_at=_now(),
            )
            .returning(OutboxEntry.id)
            .add_cte(revived)
            .execution_options(synchronize_session=False)
        )
        return len(delivered.all())

    def _mine(self) -> tuple[ColumnElement[bool], ...]:
        return (OutboxEntry.organization_id == self._organization_id, OutboxEntry.dead.is_(True))

    def _of(self, workflow_id: str | None) -> tuple[ColumnElement[bool], ...]:
        if workflow_id is None:
            return ()
        agent = select(Agent.id).where(Agent.organization_id == self._organization_id, Agent.workflow_id == workflow_id)
        return (OutboxEntry.agent_id == agent.scalar_subquery(),)

    def _query(self) -> Select[int, UUID, str, str, int, str | None, datetime, datetime | None, str, UUID | None]:
        return (
            select(
                OutboxEntry.id,
                OutboxEntry.execution_id,
                Agent.workflow_id,
                OutboxEntry.kind,
                OutboxEntry.attempts,
                OutboxEntry.error,
                OutboxEntry.created_at,
                OutboxEntry.buried_at,
                WorkflowExecution.status,
                WorkflowExecution.parent_execution_id,
            )
            .join(Agent, and_(Agent.organization_id == OutboxEntry.organization_id, Agent.id == OutboxEntry.agent_id))
            .join(
                WorkflowExecution,
                and_(
                    WorkflowExecution.organization_id == OutboxEntry.organization_id,
                    WorkflowExecution.id == OutboxEntry.execution_id,
                ),
            )
            .where(*self._mine())
        )
