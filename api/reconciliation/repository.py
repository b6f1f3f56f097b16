"""SQL of reconciliation. A round looks at every organisation's executions; each row carries its organisation, and what
is done about it stays in there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias
from uuid import UUID

from sqlalchemy import ColumnElement, Select, String, cast, exists, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from api.models import AdoptedRun, Lease, Organization, OutboxEntry, WorkflowExecution, WorkflowVersion

_now = func.clock_timestamp
MOST = 20_000
"""How many executions a round looks at, the oldest first."""

Found: TypeAlias = Select[UUID, UUID, str, str, str, datetime | None, bool, bool]


@dataclass(frozen=True)
class Left:
    """An execution and its run in Airflow.

    :param has_runner: Whether a runner holds a live lease.
    :param has_order: Whether a relay has still something to tell Airflow.
    """

    organization_id: UUID
    execution_id: UUID
    dag_id: str
    run_id: str
    status: str
    completed_at: datetime | None
    has_runner: bool
    has_order: bool

    @property
    def is_alone(self) -> bool:
        """Whether nobody of ours is at work on it."""
        return not (self.has_runner or self.has_order)


def _has_runner() -> ColumnElement[bool]:
    return exists().where(
        Lease.organization_id == WorkflowExecution.organization_id,
        Lease.execution_id == WorkflowExecution.id,
        Lease.is_live(),
    )


def _has_order(*kinds: str) -> ColumnElement[bool]:
    of_kinds = [OutboxEntry.kind.in_(kinds)] if kinds else []
    return exists().where(
        OutboxEntry.organization_id == WorkflowExecution.organization_id,
        OutboxEntry.execution_id == WorkflowExecution.id,
        OutboxEntry.dead.is_(False),
        *of_kinds,
    )


def _executions() -> Found:
    """Select executions with the runs Airflow knows them by."""
    run_id = func.coalesce(AdoptedRun.run_id, cast(WorkflowExecution.id, String))
    return (
        select(
            WorkflowExecution.organization_id,
            WorkflowExecution.id,
            func.coalesce(WorkflowExecution.pinned_dag_id, WorkflowVersion.dag_id),
            run_id,
            WorkflowExecution.status,
            WorkflowExecution.completed_at,
            _has_runner(),
            _has_order(),
        )
        .join(
            WorkflowVersion,
            (WorkflowVersion.organization_id == WorkflowExecution.organization_id)
            & (WorkflowVersion.id == WorkflowExecution.version_id),
        )
        .outerjoin(
            AdoptedRun,
            (AdoptedRun.organization_id == WorkflowExecution.organization_id)
            & (AdoptedRun.execution_id == WorkflowExecution.id),
        )
    )


async def database_now(session: AsyncSession) -> datetime:
    """Return the database's time."""
    now: datetime = (await session.execute(select(_now()))).scalar_one()
    return now


async def _found(session: AsyncSession, query: Found) -> list[Left]:
    return [Left(*row) for row in await session.execute(query)]


async def find_left_alone(session: AsyncSession, quiet_seconds: float) -> list[Left]:
    """Return the unfinished executions that Airflow was told of and nobody of ours is at work on, the oldest first.

    Most of them wait for something, deferred in Airflow.
    """
    query = _executions().where(
        WorkflowExecution.completed_at.is_(None),
        WorkflowExecution.relayed_at < _now() - timedelta(seconds=quiet_seconds),
        ~_has_runner(),
        ~_has_order(),
    )
    return await _found(session, query.order_by(WorkflowExecution.accepted_at, WorkflowExecution.id).limit(MOST))


async def find_never_ordered(session: AsyncSession, quiet_seconds: float, count: int) -> list[Left]:
    """Return the unfinished executions that Airflow has not been told of, and that nobody is about to tell it of."""
    query = _executions().where(
        WorkflowExecution.completed_at.is_(None),
        WorkflowExecution.relayed_at.is_(None),
        WorkflowExecution.accepted_at < _now() - timedelta(seconds=quiet_seconds),
        ~_has_runner(),
        ~_has_order(),
    )
    return await _found(session, query.order_by(WorkflowExecution.accepted_at, WorkflowExecution.id).limit(count))


async def find_out_of_time(session: AsyncSession, grace_seconds: float, count: int) -> list[Left]:
    """Return the unfinished executions whose time is over and that no runner is there to end."""
    limit = func.make_interval(0, 0, 0, 0, 0, 0, WorkflowExecution.timeout_seconds + grace_seconds)
    query = _executions().where(
        WorkflowExecution.completed_at.is_(None),
        WorkflowExecution.timeout_seconds.is_not(None),
        func.coalesce(WorkflowExecution.reopened_at, WorkflowExecution.accepted_at) + limit < _now(),
        ~_has_runner(),
        ~_has_order("stop", "restart"),
    )
    return await _found(session, query.order_by(WorkflowExecution.accepted_at, WorkflowExecution.id).limit(count))


async def find_of_runs(session: AsyncSession, runs: Sequence[tuple[str, str]]) -> list[Left]:
    """Return the executions of runs of Airflow, given as ``(DAG id, run id)``; runs of others are left out."""
    ids = [identifier for _, run_id in runs if (identifier := _uuid(run_id)) is not None]
    slugs = {dag_id.partition("__")[0] for dag_id, _ in runs}
    owners = select(Organization.id).where(Organization.slug.in_(slugs))
    # Two queries: of one with both conditions PostgreSQL would read every execution.
    by_id = _executions().where(WorkflowExecution.id.in_(ids))
    adopted = _executions().where(
        AdoptedRun.organization_id.in_(owners), tuple_(AdoptedRun.dag_id, AdoptedRun.run_id).in_(runs)
    )
    wanted = set(runs)
    found = [*await _found(session, by_id), *await _found(session, adopted)]
    return [left for left in found if (left.dag_id, left.run_id) in wanted]


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


class ReconciliationRepository:
    """Executions of one organisation, as reconciliation sees them."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    async def look_again(self, execution_id: UUID) -> Left | None:
        """Return how an execution stands now."""
        found = await _found(
            self._session,
            _executions().where(
                WorkflowExecution.organization_id == self._organization_id, WorkflowExecution.id == execution_id
            ),
        )
        return next(iter(found), None)
