"""SQL of the outbox. A relay serves every organisation, so entries are taken across all of them; each entry carries its
organisation, and what is done about it stays in there."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, func, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from api.executions.repository import STARTING
from api.models import OutboxEntry, WorkflowExecution, WorkflowVersion

_now = func.clock_timestamp


@dataclass(frozen=True)
class Entry:
    """A taken outbox entry.

    :param attempts: How often it was taken, this time included.
    :param refusals: Airflow's so far.
    :param age_seconds: Since it was accepted, or since the last pause of its workflow or organisation.
    :param tried_seconds: Since it was first taken, if that is later: what waited for a place has not been tried.
    """

    organization_id: UUID
    id: int
    execution_id: UUID
    agent_id: UUID
    dag_id: str
    attempts: int
    refusals: int
    kind: str
    age_seconds: float
    tried_seconds: float


@dataclass(frozen=True)
class Limits:
    """How many executions may be at work at a time; None for any number."""

    of_an_organization: int | None = None
    of_all: int | None = None


_FAR_AHEAD_SECONDS = 400
"""No entry is put off for longer (Airflow may ask for five minutes); one that seems to be is from before the database's
clock was set back."""
_TAKING = 4_210_077_002  # any number, the same in every relay

# The statement looks at few rows however many wait: at the first entries of each lane that has any (a lane is a
# workflow's entries of one key), and at those that were taken before or are stops, which are few.
_NEXT = text(
    """
    WITH RECURSIVE lanes AS (
        (SELECT organization_id, agent_id, called, concurrency_key FROM outbox
         WHERE NOT dead AND kind <> 'stop' AND attempts = 0
         ORDER BY organization_id, agent_id, called, concurrency_key LIMIT 1)
        UNION ALL
        -- From lane to lane by one jump through the index each.
        SELECT following.* FROM lanes CROSS JOIN LATERAL (
            SELECT organization_id, agent_id, called, concurrency_key FROM outbox
            WHERE NOT dead AND kind <> 'stop' AND attempts = 0
                AND (organization_id, agent_id, called, concurrency_key)
                    > (lanes.organization_id, lanes.agent_id, lanes.called, lanes.concurrency_key)
            ORDER BY organization_id, agent_id, called, concurrency_key LIMIT 1
        ) following
    ),
    open_workflows AS (
        SELECT a.organization_id, a.id AS agent_id, greatest(o.resumed_at, a.resumed_at) AS resumed_at,
            o.paused_at IS NULL AND a.paused_at IS NULL AND NOT :only_stops AND a.id <> ALL(CAST(:missing AS uuid[]))
                AS takes_starts
        FROM agents a JOIN organizations o ON o.id = a.organization_id
    ),
    due AS (
        SELECT entry.*, open_workflows.resumed_at
        FROM lanes JOIN open_workflows USING (organization_id, agent_id) CROSS JOIN LATERAL (
            SELECT organization_id, id, execution_id, kind, created_at FROM outbox
            WHERE (organization_id, agent_id, called, concurrency_key)
                    = (lanes.organization_id, lanes.agent_id, lanes.called, lanes.concurrency_key)
                AND NOT dead AND kind <> 'stop' AND attempts = 0
            ORDER BY id LIMIT :count
        ) entry
        WHERE takes_starts
        UNION ALL
        SELECT organization_id, id, execution_id, kind, created_at, resumed_at
        FROM (
            SELECT * FROM outbox
            WHERE NOT dead AND (kind = 'stop' OR attempts > 0) AND available_at <= clock_timestamp()
            UNION ALL
            SELECT * FROM outbox
            WHERE NOT dead AND (kind = 'stop' OR attempts > 0)
                AND available_at > clock_timestamp() + make_interval(secs => :far_ahead)
        ) come_back JOIN open_workflows USING (organization_id, agent_id)
        WHERE takes_starts OR kind = 'stop'
    ),
    -- Who has its place already, and who has no limit, needs none. A parent that waits keeps its place: what it waits
    -- for is never held back by the limits of organisations and of all, or they would wait for each other for ever.
    ranked AS (
        SELECT due.*, e.agent_id, e.concurrency_key, e.concurrency_limit, e.relayed_at,
            kind <> 'stop' AND e.relayed_at IS NULL AND e.concurrency_limit IS NOT NULL AS is_limited,
            kind <> 'stop' AND e.relayed_at IS NULL AND e.parent_execution_id IS NULL AS is_counted
        FROM due JOIN workflow_executions e ON (e.organization_id, e.id) = (due.organization_id, due.execution_id)
    ),
    numbered AS (
        SELECT ranked.*, row_number() OVER (
            PARTITION BY organization_id, agent_id, concurrency_key, is_limited ORDER BY id) AS number
        FROM ranked
    ),
    with_place AS (
        SELECT numbered.*, row_number() OVER (PARTITION BY organization_id, is_counted ORDER BY id) AS counted
        FROM numbered
        WHERE NOT is_limited OR (number <= concurrency_limit AND number + (
            SELECT count(*) FROM (
                SELECT FROM workflow_executions w
                WHERE (w.organization_id, w.agent_id, w.concurrency_key)
                        = (numbered.organization_id, numbered.agent_id, numbered.concurrency_key)
                    AND w.completed_at IS NULL AND w.relayed_at IS NOT NULL
                LIMIT numbered.concurrency_limit) at_work
        ) <= concurrency_limit)
    ),
    -- The first of each organisation, then the second of each: a burst of one does not keep the others waiting.
    in_turns AS (
        SELECT with_place.*, row_number() OVER (PARTITION BY organization_id ORDER BY id) AS turn
        FROM with_place
        WHERE NOT is_counted OR CAST(:of_an_organization AS integer) IS NULL OR counted + (
            SELECT count(*) FROM (
                SELECT FROM workflow_executions w
                WHERE w.organization_id = with_place.organization_id
                    AND w.completed_at IS NULL AND w.relayed_at IS NOT NULL
                LIMIT CAST(:of_an_organization AS integer)) at_work
        ) <= CAST(:of_an_organization AS integer)
    ),
    ordered AS (
        SELECT in_turns.*,
            row_number() OVER (PARTITION BY is_counted ORDER BY turn, organization_id <= :after, organization_id)
                AS counted_of_all
        FROM in_turns
    ),
    places AS (
        SELECT organization_id, id, execution_id, resumed_at, relayed_at,
            row_number() OVER (ORDER BY turn, organization_id <= :after, organization_id) AS place
        FROM ordered
        WHERE NOT is_counted OR CAST(:of_all AS integer) IS NULL OR counted_of_all + (
            SELECT count(*) FROM (
                SELECT FROM workflow_executions w WHERE w.completed_at IS NULL AND w.relayed_at IS NOT NULL
                LIMIT CAST(:of_all AS integer)) at_work
        ) <= CAST(:of_all AS integer)
        ORDER BY place LIMIT :count
    ),
    -- What is being changed just now is left for the next round. Both rows at once: who cancels locks the execution
    -- first, and would wait for this one for ever.
    chosen AS (
        SELECT places.*, greatest(outbox.created_at, resumed_at) AS begun_at,
            greatest(outbox.created_at, resumed_at, coalesce(places.relayed_at, clock_timestamp())) AS tried_at
        FROM places
        JOIN outbox ON (outbox.organization_id, outbox.id) = (places.organization_id, places.id)
        JOIN workflow_executions e ON (e.organization_id, e.id) = (places.organization_id, places.execution_id)
        FOR NO KEY UPDATE OF outbox, e SKIP LOCKED
    )
    UPDATE outbox
    SET available_at = clock_timestamp() + make_interval(secs => :hold_seconds), attempts = attempts + 1
    FROM chosen
    WHERE (outbox.organization_id, outbox.id) = (chosen.organization_id, chosen.id)
    RETURNING outbox.organization_id, outbox.id, outbox.execution_id, agent_id, dag_id, attempts, refusals, kind,
        CAST(extract(epoch FROM clock_timestamp() - begun_at) AS float),
        CAST(extract(epoch FROM clock_timestamp() - tried_at) AS float),
        place
    """
)


async def take_entries(
    session: AsyncSession,
    count: int,
    hold_seconds: float,
    after: UUID | None = None,
    *,
    limits: Limits = Limits(),
    missing: Collection[UUID] = (),
    only_stops: bool = False,
) -> list[Entry]:
    """Take entries that are due, in the order they are to be relayed. They come back after ``hold_seconds`` unless
    they are done by then.

    One entry an organisation, then the second of each, and so on: the burst of one does not keep the others waiting.
    Of a workflow with a limit, no more are taken than there are places left; the others wait in their order. So do
    those of a workflow or an organisation that is paused; orders to stop a run are never held back.

    :param after: The organisation that had its turn last.
    :param missing: Workflows whose executions cannot be started just now.
    :param only_stops: Whether none can be started just now.
    """
    # One relay at a time, so that each counts the places that the others have given away. And no bitmaps: PostgreSQL
    # takes a lane for short, and would read and sort all of it instead of its first entries in the index's order.
    await session.execute(
        select(func.set_config("enable_bitmapscan", "off", True), func.pg_advisory_xact_lock(_TAKING))
    )
    taken = await session.execute(
        _NEXT,
        {
            "count": count,
            "hold_seconds": hold_seconds,
            "far_ahead": hold_seconds + _FAR_AHEAD_SECONDS,
            "after": after or UUID(int=0),
            "missing": list(missing),
            "only_stops": only_stops,
            "of_an_organization": limits.of_an_organization,
            "of_all": limits.of_all,
        },
    )
    rows = sorted(taken, key=lambda row: row.place)
    entries = [Entry(*row[:-1]) for row in rows]
    await _mark_relayed(session, entries)
    return entries


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

    async def postpone(self, entry_id: int, attempts: int, seconds: float, *, error: str, refused: bool) -> None:
        """Make an entry due again later, unless it was taken anew since that attempt."""
        await self._update(
            entry_id,
            attempts,
            available_at=_now() + timedelta(seconds=seconds),
            error=error,
            refusals=OutboxEntry.refusals + int(refused),
        )

    async def bury(self, entry_id: int, attempts: int, error: str) -> bool:
        """Give an entry up; it stays, with its error, for people to look at. False if it was done or taken anew since
        that attempt.
        """
        return await self._update(entry_id, attempts, dead=True, buried_at=_now(), error=error)

    async def _update(self, entry_id: int, attempts: int, **values: object) -> bool:
        updated = await self._session.execute(
            update(OutboxEntry)
            .where(
                OutboxEntry.organization_id == self._organization_id,
                OutboxEntry.id == entry_id,
                OutboxEntry.attempts == attempts,
                OutboxEntry.dead.is_(False),
            )
            .values(**values)
            .returning(OutboxEntry.id)
            .execution_options(synchronize_session=False)
        )
        return updated.first() is not None

    async def is_stopping(self, execution_id: UUID) -> bool:
        """Tell whether a run is still to be stopped."""
        query = select(OutboxEntry.id).where(
            OutboxEntry.organization_id == self._organization_id,
            OutboxEntry.execution_id == execution_id,
            OutboxEntry.kind == "stop",
            OutboxEntry.dead.is_(False),
        )
        return await self._session.scalar(query) is not None

    async def newest_version(self, agent_id: UUID, number: int | None = None) -> tuple[int, str]:
        """Return number and plan digest of a workflow's newest version, or of the one of this number."""
        pinned = [] if number is None else [WorkflowVersion.number == number]
        row = (
            await self._session.execute(
                select(WorkflowVersion.number, WorkflowVersion.plan_digest)
                .where(
                    WorkflowVersion.organization_id == self._organization_id,
                    WorkflowVersion.agent_id == agent_id,
                    *pinned,
                )
                .order_by(WorkflowVersion.number.desc())
                .limit(1)
            )
        ).one()
        return row[0], row[1]
