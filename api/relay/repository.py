"""SQL of the outbox. A relay serves every organisation, so entries are taken across all of them; each entry carries its
organisation, and what is done about it stays in there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Select, delete, func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from api.executions.repository import STARTING
from api.models import OutboxEntry, WorkflowExecution, WorkflowVersion

_now = func.clock_timestamp


@dataclass(frozen=True)
class Entry:
    """A taken outbox entry. ``age_seconds`` counts from acceptance; ``refusals`` are Airflow's so far."""

    organization_id: UUID
    id: int
    execution_id: UUID
    agent_id: UUID
    dag_id: str
    attempts: int
    refusals: int
    kind: str
    age_seconds: float


_TAKING = 4_210_077_002  # any number, the same in every relay


async def take_entries(
    session: AsyncSession, count: int, hold_seconds: float, after: UUID | None = None
) -> list[Entry]:
    """Take entries that are due, in the order they are to be relayed. They come back after ``hold_seconds`` unless
    they are done by then.

    One entry an organisation, then the second of each, and so on: the burst of one does not keep the others waiting.
    Of a workflow with a limit, no more are taken than there are places left; the others wait in their order.

    :param after: The organisation that had its turn last.
    """
    # One relay at a time, so that each counts the places that the others have given away.
    await session.execute(select(func.pg_advisory_xact_lock(_TAKING)))
    chosen = _next_entries(count, after or UUID(int=0)).cte("chosen")
    taken = await session.execute(
        update(OutboxEntry)
        .where(OutboxEntry.organization_id == chosen.c.organization_id, OutboxEntry.id == chosen.c.id)
        .values(available_at=_now() + timedelta(seconds=hold_seconds), attempts=OutboxEntry.attempts + 1)
        .returning(
            OutboxEntry.organization_id,
            OutboxEntry.id,
            OutboxEntry.execution_id,
            OutboxEntry.agent_id,
            OutboxEntry.dag_id,
            OutboxEntry.attempts,
            OutboxEntry.refusals,
            OutboxEntry.kind,
            func.extract("epoch", _now() - OutboxEntry.created_at),
            chosen.c.place,
        )
    )
    rows = sorted(taken, key=lambda row: row.place)
    entries = [Entry(*row[:8], float(row[8])) for row in rows]
    await _mark_relayed(session, entries)
    return entries


def _next_entries(count: int, after: UUID) -> Select[UUID, int, int]:
    """Select the entries to take, locked, with their place in the order."""
    execution, started = aliased(WorkflowExecution), aliased(WorkflowExecution)
    # An entry that came back has its place already.
    limited = (
        OutboxEntry.kind.in_(STARTING) & execution.concurrency_limit.is_not(None) & execution.relayed_at.is_(None)
    ).label("limited")
    group = (OutboxEntry.organization_id, OutboxEntry.agent_id, execution.concurrency_key, limited)
    due = (
        select(
            OutboxEntry.organization_id,
            OutboxEntry.id,
            OutboxEntry.agent_id,
            execution.concurrency_key,
            execution.concurrency_limit,
            limited,
            func.row_number().over(partition_by=group, order_by=OutboxEntry.id).label("number"),
        )
        .join(
            execution,
            (execution.organization_id == OutboxEntry.organization_id) & (execution.id == OutboxEntry.execution_id),
        )
        .where(OutboxEntry.dead.is_(False), OutboxEntry.available_at <= _now())
        .subquery("due")
    )
    occupied = (
        select(func.count())
        .where(
            started.organization_id == due.c.organization_id,
            started.agent_id == due.c.agent_id,
            started.concurrency_key == due.c.concurrency_key,
            started.completed_at.is_(None),
            started.relayed_at.is_not(None),
        )
        .scalar_subquery()
    )
    has_room = (due.c.number <= due.c.concurrency_limit) & (due.c.number + occupied <= due.c.concurrency_limit)
    free = (
        select(
            due.c.organization_id,
            due.c.id,
            func.row_number().over(partition_by=due.c.organization_id, order_by=due.c.id).label("turn"),
        )
        .where(~due.c.limited | has_room)
        .subquery("free")
    )
    order = (free.c.turn, free.c.organization_id <= after, free.c.organization_id)
    placed = (
        select(free.c.organization_id, free.c.id, func.row_number().over(order_by=order).label("place"))
        .order_by("place")
        .limit(count)
        .subquery("placed")
    )
    return (
        select(OutboxEntry.organization_id, OutboxEntry.id, placed.c.place)
        .join(placed, (placed.c.organization_id == OutboxEntry.organization_id) & (placed.c.id == OutboxEntry.id))
        .join(
            execution,
            (execution.organization_id == OutboxEntry.organization_id) & (execution.id == OutboxEntry.execution_id),
        )
        # What is being changed just now is left for the next round. Both rows at once: who cancels locks the execution
        # first, and would wait for this one for ever.
        .with_for_update(of=[OutboxEntry, execution], skip_locked=True, key_share=True)
    )


async def _mark_relayed(session: AsyncSession, entries: list[Entry]) -> None:
    """Have the executions of taken entries take up their places."""
    keys = [(entry.organization_id, entry.execution_id) for entry in entries if entry.kind in STARTING]
    if keys:
        await session.execute(
            update(WorkflowExecution)
            .where(
                tuple_(WorkflowExecution.organization_id, WorkflowExecution.id).in_(keys),
                WorkflowExecution.relayed_at.is_(None),
            )
            .values(relayed_at=_now())
            .execution_options(synchronize_session=False)
        )


class OutboxRepository:
    """Outbox entries of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    async def done(self, entry_id: int) -> None:
        """Remove an entry: Airflow has the run."""
        await self._session.execute(
            delete(OutboxEntry).where(OutboxEntry.organization_id == self._organization_id, OutboxEntry.id == entry_id)
        )

    async def postpone(self, entry_id: int, seconds: float, *, error: str, refused: bool) -> None:
        """Make an entry due again later."""
        await self._update(
            entry_id,
            available_at=_now() + timedelta(seconds=seconds),
            error=error,
            refusals=OutboxEntry.refusals + int(refused),
        )

    async def bury(self, entry_id: int, error: str) -> None:
        """Give an entry up; it stays, with its error, for people to look at."""
        await self._update(entry_id, dead=True, error=error)

    async def _update(self, entry_id: int, **values: object) -> None:
        await self._session.execute(
            update(OutboxEntry)
            .where(OutboxEntry.organization_id == self._organization_id, OutboxEntry.id == entry_id)
            .values(**values)
        )

    async def is_stopping(self, execution_id: UUID) -> bool:
        """Tell whether a run is still to be stopped."""
        query = select(OutboxEntry.id).where(
            OutboxEntry.organization_id == self._organization_id,
            OutboxEntry.execution_id == execution_id,
            OutboxEntry.kind == "stop",
            OutboxEntry.dead.is_(False),
        )
        return await self._session.scalar(query) is not None

    async def newest_version(self, agent_id: UUID) -> tuple[int, str]:
        """Return number and plan digest of a workflow's newest version."""
        row = (
            await self._session.execute(
                select(WorkflowVersion.number, WorkflowVersion.plan_digest)
                .where(WorkflowVersion.organization_id == self._organization_id, WorkflowVersion.agent_id == agent_id)
                .order_by(WorkflowVersion.number.desc())
                .limit(1)
            )
        ).one()
        return row[0], row[1]
