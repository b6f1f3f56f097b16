"""SQL of the outbox. A relay serves every organisation, so entries are taken across all of them; each entry carries its
organisation, and what is done about it stays in there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from api.models import OutboxEntry, WorkflowVersion

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
    age_seconds: float


async def take_entries(session: AsyncSession, count: int, hold_seconds: float) -> list[Entry]:
    """Take the oldest entries that are due. They come back after ``hold_seconds`` unless they are done by then."""
    due = (
        select(OutboxEntry.organization_id, OutboxEntry.id)
        .where(OutboxEntry.dead.is_(False), OutboxEntry.available_at <= _now())
        .order_by(OutboxEntry.available_at)
        .limit(count)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    taken = await session.execute(
        update(OutboxEntry)
        .where(OutboxEntry.organization_id == due.c.organization_id, OutboxEntry.id == due.c.id)
        .values(available_at=_now() + timedelta(seconds=hold_seconds), attempts=OutboxEntry.attempts + 1)
        .returning(
            OutboxEntry.organization_id,
            OutboxEntry.id,
            OutboxEntry.execution_id,
            OutboxEntry.agent_id,
            OutboxEntry.dag_id,
            OutboxEntry.attempts,
            OutboxEntry.refusals,
            func.extract("epoch", _now() - OutboxEntry.created_at),
        )
    )
    entries = [Entry(*row[:7], float(row[7])) for row in taken]
    return sorted(entries, key=lambda entry: entry.id)


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
