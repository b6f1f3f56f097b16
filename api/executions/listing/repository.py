"""SQL of lists of executions.

The order is that of the ids: a uuid of version 7 begins with its time, and it says which partition it is in. So a
cursor, and every bound of time, is a bound of ids, and months outside are not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from api.executions.listing.schemas import ExecutionFilter
from api.models import Agent, WorkflowExecution, WorkflowVersion
from operators.execution.records import ExecutionStatus

# An id is made within the transaction of its acceptance, and clocks are set back at times.
_SLACK = timedelta(hours=1)
_VERSION_AND_VARIANT = (7 << 76) | (0b10 << 62)


class ListingRepository:
    """Lists of one organisation's executions."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    async def workflow(self, workflow_id: str, number: int | None) -> tuple[UUID, UUID | None] | None:
        """Return the ids of a workflow and, where a number is given, of its version; None where there is none."""
        if number is None:
            only = select(Agent.id).where(
                Agent.organization_id == self._organization_id, Agent.workflow_id == workflow_id
            )
            found = await self._session.scalar(only)
            return (found, None) if found else None
        query = (
            select(Agent.id, WorkflowVersion.id)
            .join(
                WorkflowVersion,
                and_(WorkflowVersion.organization_id == Agent.organization_id, WorkflowVersion.agent_id == Agent.id),
            )
            .where(
                Agent.organization_id == self._organization_id,
                Agent.workflow_id == workflow_id,
                WorkflowVersion.number == number,
            )
        )
        row = (await self._session.execute(query)).first()
        return (row[0], row[1]) if row else None

    async def page(
        self,
        asked: ExecutionFilter,
        *,
        agent_id: UUID | None,
        version_id: UUID | None,
        before: UUID | None,
        limit: int,
    ) -> Sequence[Any]:
        """Return executions, the newest first, without what they were given and made."""
        rows: Sequence[Any] = (
            await self._session.execute(self.query(asked, agent_id, version_id, before, limit))
        ).all()
        return rows

    def query(
        self, asked: ExecutionFilter, agent_id: UUID | None, version_id: UUID | None, before: UUID | None, limit: int
    ) -> Select[Any]:
        """Return the statement of a page."""
        execution = WorkflowExecution
        found = (
            select(
                execution.id, execution.agent_id, execution.version_id, execution.status, execution.epoch,
                execution.environment, execution.trigger_type, execution.error_code, execution.parent_execution_id,
                execution.accepted_at, execution.started_at, execution.completed_at, execution.reopened_at,
            )
            .where(execution.organization_id == self._organization_id)
            .where(*_conditions(asked, agent_id, version_id, before))
            .order_by(execution.id.desc())
            .limit(limit)
            .subquery("found")
        )  # fmt: skip
        return (
            select(found, Agent.workflow_id, WorkflowVersion.number)
            .join(Agent, and_(Agent.organization_id == self._organization_id, Agent.id == found.c.agent_id))
            .join(
                WorkflowVersion,
                and_(
                    WorkflowVersion.organization_id == self._organization_id,
                    WorkflowVersion.id == found.c.version_id,
                ),
            )
            .order_by(found.c.id.desc())
        )


def _conditions(
    asked: ExecutionFilter, agent_id: UUID | None, version_id: UUID | None, before: UUID | None
) -> list[ColumnElement[bool]]:
    execution = WorkflowExecution
    duration = execution.completed_at - func.coalesce(execution.reopened_at, execution.accepted_at)
    given: list[tuple[Any, Callable[[Any], ColumnElement[bool]]]] = [
        (agent_id, lambda value: execution.agent_id == value),
        (version_id, lambda value: execution.version_id == value),
        (before, lambda value: execution.id < value),
        (asked.trigger, lambda value: execution.trigger_type == value),
        (asked.parent_execution_id, lambda value: execution.parent_execution_id == value),
        (asked.error_code, lambda value: execution.error_code == value),
        (asked.min_duration_ms, lambda value: duration >= timedelta(milliseconds=value)),
        (asked.max_duration_ms, lambda value: duration <= timedelta(milliseconds=value)),
        (asked.accepted_from, _from),
        (asked.accepted_before, _before),
        (asked.status or None, _is_one_of),
    ]
    return [condition(value) for value, condition in given if value is not None]


def _is_one_of(statuses: list[ExecutionStatus]) -> ColumnElement[bool]:
    if len(statuses) == 1:
        # With one value the index of statuses gives the order too.
        return WorkflowExecution.status == statuses[0]
    return WorkflowExecution.status.in_(sorted(set(statuses)))


def _from(moment: datetime) -> ColumnElement[bool]:
    return and_(WorkflowExecution.id >= first_id(moment - _SLACK), WorkflowExecution.accepted_at >= moment)


def _before(moment: datetime) -> ColumnElement[bool]:
    return and_(WorkflowExecution.id < first_id(moment + _SLACK), WorkflowExecution.accepted_at < moment)


def first_id(moment: datetime) -> UUID:
    """Return the smallest id (a uuid of version 7) that can be made at a moment."""
    since = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return UUID(int=((since // timedelta(milliseconds=1)) << 80) | _VERSION_AND_VARIANT)
