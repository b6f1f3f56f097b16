"""SQL of live events: the journal without what the steps made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, select, true, update
from sqlalchemy.ext.asyncio import AsyncSession

from api.models import ExecutionStep, WorkflowExecution


@dataclass(frozen=True)
class Standing:
    """How an execution stands."""

    status: str
    life: int
    epoch: int
    error: Any
    started_at: datetime | None
    completed_at: datetime | None


@dataclass(frozen=True)
class JournaledStep:
    """What the journal says of a step, without its output."""

    step_id: str
    epoch: int
    status: str
    attempts: int
    started_at: datetime | None
    ended_at: datetime | None
    duration_ms: float | None
    error: Any
    journaled_at: datetime


class LiveRepository:
    """One execution of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID, execution_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id
        self._execution_id = execution_id

    async def watch(self, seconds: float) -> None:
        """Have runners notify of every step for so long, if the execution has not ended."""
        await self._session.execute(
            update(WorkflowExecution)
            .where(
                WorkflowExecution.organization_id == self._organization_id,
                WorkflowExecution.id == self._execution_id,
                WorkflowExecution.completed_at.is_(None),
            )
            .values(watched_until=func.clock_timestamp() + timedelta(seconds=seconds))
            .execution_options(synchronize_session=False)
        )

    async def standing(self) -> Standing | None:
        """Return how the execution stands."""
        query = select(
            WorkflowExecution.status,
            WorkflowExecution.life,
            WorkflowExecution.epoch,
            WorkflowExecution.error,
            WorkflowExecution.started_at,
            WorkflowExecution.completed_at,
        ).where(WorkflowExecution.organization_id == self._organization_id, WorkflowExecution.id == self._execution_id)
        row = (await self._session.execute(query)).first()
        return Standing(*row) if row else None

    async def steps_after(self, moment: datetime) -> list[JournaledStep]:
        """Return what was journaled later, in that order."""
        query = (
            select(
                ExecutionStep.step_id,
                ExecutionStep.epoch,
                ExecutionStep.status,
                ExecutionStep.attempts,
                ExecutionStep.started_at,
                ExecutionStep.ended_at,
                ExecutionStep.duration_ms,
                ExecutionStep.error,
                ExecutionStep.journaled_at,
            )
            .where(*self._current(), ExecutionStep.journaled_at > moment)
            .order_by(ExecutionStep.journaled_at, ExecutionStep.epoch, ExecutionStep.step_id)
        )
        return [JournaledStep(*row) for row in await self._session.execute(query)]

    async def keys_until(self, moment: datetime) -> dict[tuple[int, str], datetime]:
        """Return epoch and id of the steps that were journaled up to a moment, and when each was."""
        query = select(ExecutionStep.epoch, ExecutionStep.step_id, ExecutionStep.journaled_at).where(
            *self._current(), ExecutionStep.journaled_at <= moment
        )
        return {(row.epoch, row.step_id): row.journaled_at for row in await self._session.execute(query)}

    def _current(self) -> tuple[ColumnElement[bool], ...]:
        return (
            ExecutionStep.organization_id == self._organization_id,
            ExecutionStep.execution_id == self._execution_id,
            ExecutionStep.current == true(),
        )
