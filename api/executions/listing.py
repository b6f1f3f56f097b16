"""Lists of executions: what may be asked for, and the SQL of it.

The order is that of the ids: a uuid of version 7 begins with its time, and it says which partition it is in. So a
cursor, and every bound of time, is a bound of ids, and months outside are not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy import ColumnElement, Select, and_, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from api.executions.schemas import ExecutionList, ExecutionSummary
from api.models import Agent, WorkflowExecution, WorkflowVersion
from api.pagination import Cursors
from api.problems import Problem
from api.settings import Settings
from operators.execution.records import ExecutionStatus

TriggerType = Literal["manual", "webhook", "schedule", "event", "workflow"]

# An id is made within the transaction of its acceptance, and clocks are set back at times.
_SLACK = timedelta(hours=1)
_FIRST_YEAR, _LAST_YEAR = 2000, 2199
_VERSION_AND_VARIANT = (7 << 76) | (0b10 << 62)


def _in_our_time(moment: datetime) -> datetime:
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise ValueError(f"must be in the years {_FIRST_YEAR} to {_LAST_YEAR}")
    return moment


Moment = Annotated[AwareDatetime, AfterValidator(_in_our_time)]


class ExecutionFilter(BaseModel):
    """Which executions are asked for; all that is given must hold. Moments are of the acceptance: from the first on,
    before the second. Durations, from the acceptance to the end, are of ended executions."""

    model_config = ConfigDict(extra="forbid")

    workflow_id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")] | None = None
    version: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    status: Annotated[list[ExecutionStatus], Field(max_length=5)] = []
    trigger: TriggerType | None = None
    accepted_from: Moment | None = None
    accepted_before: Moment | None = None
    min_duration_ms: Annotated[float, Field(ge=0, le=1e13, allow_inf_nan=False)] | None = None
    max_duration_ms: Annotated[float, Field(ge=0, le=1e13, allow_inf_nan=False)] | None = None
    parent_execution_id: UUID | None = None
    error_code: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,100}$")] | None = None


class ExecutionPage(ExecutionFilter):
    """A filter, and which page of what it finds."""

    cursor: Annotated[str, Field(max_length=200)] | None = Field(default=None, description="`next` of the page before.")
    limit: Annotated[int, Field(ge=1, le=200)] = 50


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


async def list_executions(
    session: AsyncSession, organization_id: UUID, settings: Settings, asked: ExecutionPage
) -> ExecutionList:
    """Return a page of an organisation's executions, the newest first. A workflow or version that is not there has
    none.

    :raises Problem: 422, for a cursor of another list, or a version without its workflow.
    """
    question = asked.model_dump(mode="json", exclude={"cursor", "limit"})
    cursors = Cursors(settings, organization_id, "executions", question)
    before = None if asked.cursor is None else cursors.read(asked.cursor)
    if asked.version is not None and asked.workflow_id is None:
        detail = "`version` counts the versions of one workflow; give its `workflow_id` too."
        raise Problem(422, "invalid_request", detail)
    listing = ListingRepository(session, organization_id)
    agent_id = version_id = None
    if asked.workflow_id is not None:
        workflow = await listing.workflow(asked.workflow_id, asked.version)
        if workflow is None:
            return ExecutionList(executions=[], next=None)
        agent_id, version_id = workflow
    rows = await listing.page(asked, agent_id=agent_id, version_id=version_id, before=before, limit=asked.limit + 1)
    shown = [_summary(row, settings.public_url) for row in rows[: asked.limit]]
    more = len(rows) > asked.limit
    return ExecutionList(executions=shown, next=cursors.write(shown[-1].execution_id) if more else None)


def _summary(row: Any, public_url: str) -> ExecutionSummary:
    began = row.reopened_at or row.accepted_at
    ended = row.completed_at
    return ExecutionSummary(
        execution_id=row.id,
        workflow_id=row.workflow_id,
        version=row.number,
        status=row.status,
        epoch=row.epoch,
        environment=row.environment,
        trigger=row.trigger_type,
        error_code=row.error_code,
        parent_execution_id=row.parent_execution_id,
        accepted_at=row.accepted_at,
        started_at=row.started_at,
        completed_at=ended,
        duration_ms=round((ended - began).total_seconds() * 1000, 3) if ended else None,
        url=f"{public_url}/api/v1/executions/{row.id}",
    )
