"""SQL of the runtime API: leases and the journal.

Every write first locks the execution's row, so that all writes of one execution happen one after the other. Leases are
judged by the database's clock, the only one that all runners share.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Interval, bindparam, delete, func, select, true, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from api.database import narrow
from api.models import Agent, Base, ExecutionStep, Lease, Organization, WorkflowExecution
from operators.execution.records import StepRecord

_now = func.clock_timestamp

# The statements of the hot calls (heartbeat, journal) are built once: building one takes longer than running it.
_FIND = (
    select(WorkflowExecution, Organization.slug, Agent.workflow_id)
    .join(Organization, Organization.id == WorkflowExecution.organization_id)
    .join(
        Agent,
        (Agent.organization_id == WorkflowExecution.organization_id) & (Agent.id == WorkflowExecution.agent_id),
    )
    .where(WorkflowExecution.id == bindparam("execution_id"))
)
_LOCK = _FIND.with_for_update(of=WorkflowExecution)
_OF_LEASES = (
    Lease.organization_id == bindparam("of_organization"),
    Lease.execution_id == bindparam("of_execution"),
)
_EXTEND = (
    update(Lease)
    .where(*_OF_LEASES, Lease.unit == bindparam("of_unit"), Lease.token == bindparam("of_token"))
    .values(expires_at=_now() + bindparam("ttl", type_=Interval))
    .returning(Lease.token)
    .execution_options(synchronize_session=False)
)
_EXTEND_AND_SHOW = _EXTEND.values(running=bindparam("of_running", type_=Lease.running.type))
_ACTIVE_UNITS = (
    select(Lease.unit).where(*_OF_LEASES, Lease.unit != bindparam("of_unit"), Lease.is_live()).order_by(Lease.unit)
)
_STEP_KEY = ["organization_id", "execution_id", "epoch", "step_id"]
_STEP_VALUES = [
    "status", "output", "error", "attempts", "started_at", "ended_at", "duration_ms", "usage", "answer", "timing",
    "output_ref",
]  # fmt: skip
# When it was written, not when its transaction began: under the lock of the execution, in the order of the writes.
_INSERT_STEP = insert(Base.metadata.tables["execution_steps"]).values(journaled_at=_now())
_TAKE_OVER = {name: _INSERT_STEP.excluded[name] for name in (*_STEP_VALUES, "journaled_at")}
_REPLACE_STEP = _INSERT_STEP.on_conflict_do_update(index_elements=_STEP_KEY, set_=_TAKE_OVER)
_KEEP_STEP = _INSERT_STEP.on_conflict_do_update(
    index_elements=_STEP_KEY, set_=_TAKE_OVER, where=ExecutionStep.status == "running"
)


@dataclass(frozen=True)
class FoundExecution:
    """An execution and the names it is known by."""

    row: WorkflowExecution
    organization: str
    workflow_id: str


async def lock_execution(session: AsyncSession, execution_id: UUID) -> FoundExecution | None:
    """Find an execution by its id alone and lock it: the runtime API serves the workers of every organisation.

    The rest of the transaction sees the organisation that is found here.
    """
    return await _find(session, _LOCK, execution_id)


async def find_execution(session: AsyncSession, execution_id: UUID) -> FoundExecution | None:
    """Find an execution by its id alone, as :func:`lock_execution` does, but leave its row to others."""
    return await _find(session, _FIND, execution_id)


async def _find(session: AsyncSession, query: Any, execution_id: UUID) -> FoundExecution | None:
    row = (await session.execute(query, {"execution_id": execution_id})).first()
    if row is None:
        return None
    await narrow(session, row[0].organization_id)
    return FoundExecution(*row)


async def find_organization(session: AsyncSession, execution_id: UUID) -> UUID | None:
    """Return whose an execution is, found by its id alone; the rest of the transaction sees that organisation."""
    query = select(WorkflowExecution.organization_id).where(WorkflowExecution.id == execution_id)
    organization_id = await session.scalar(query)
    if organization_id is not None:
        await narrow(session, organization_id)
    return organization_id


class LeaseRepository:
    """Leases of one execution of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID, execution_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id
        self._execution_id = execution_id
        self._key: dict[str, Any] = {"of_organization": organization_id, "of_execution": execution_id}

    def _mine(self, *conditions: ColumnElement[bool]) -> tuple[ColumnElement[bool], ...]:
        return (Lease.organization_id == self._organization_id, Lease.execution_id == self._execution_id, *conditions)

    async def take(self, unit: str, owner: str, ttl_seconds: float) -> int | None:
        """Take a unit's lease if it is free, expired or the owner's; return its new token."""
        expires_at = _now() + timedelta(seconds=ttl_seconds)
        statement = insert(Lease).values(
            organization_id=self._organization_id,
            execution_id=self._execution_id,
            unit=unit,
            owner=owner,
            token=1,
            expires_at=expires_at,
        )
        statement = statement.on_conflict_do_update(
            index_elements=["organization_id", "execution_id", "unit"],
            set_={"owner": owner, "token": Lease.token + 1, "expires_at": expires_at, "running": []},
            where=(Lease.owner == owner) | ~Lease.is_live(),
        )
        return (await self._session.execute(statement.returning(Lease.token))).scalar()

    async def seconds_left(self, unit: str) -> float:
        """Return how long a unit's lease still lives."""
        left = func.extract("epoch", Lease.expires_at - _now())
        seconds = await self._session.scalar(select(left).where(*self._mine(Lease.unit == unit)))
        return max(float(seconds or 0), 0.0)

    async def extend(self, unit: str, token: int, ttl_seconds: float, running: list[str] | None = None) -> bool:
        """Extend a lease that is still the token's; False if it was taken over.

        A lease that was given back has no owner and stays given back: a late heartbeat does not make its unit look
        alive.
        """
        values = self._key | {"of_unit": unit, "of_token": token, "ttl": timedelta(seconds=ttl_seconds)}
        if running is None:
            extended = await self._session.execute(_EXTEND, values)
        else:
            extended = await self._session.execute(_EXTEND_AND_SHOW, values | {"of_running": running})
        return extended.first() is not None

    async def give_back(self, unit: str, token: int) -> bool:
        """Give a lease back; its token stays good until the next lease. False if it was taken over."""
        given = await self._session.execute(
            update(Lease)
            .where(*self._mine(Lease.unit == unit, Lease.token == token))
            .values(owner=None, expires_at=_now(), running=[])
            .returning(Lease.token)
        )
        return given.first() is not None

    async def is_current(self, unit: str, token: int) -> bool:
        """Tell whether a token is the newest of its unit."""
        query = select(Lease.token).where(*self._mine(Lease.unit == unit))
        return await self._session.scalar(query) == token

    async def revoke_all(self) -> None:
        """Make every token stale."""
        await self._session.execute(
            update(Lease).where(*self._mine()).values(owner=None, token=Lease.token + 1, expires_at=_now(), running=[])
        )

    async def active_units(self, besides: str) -> list[str]:
        """Return the other units with a live lease."""
        return list(await self._session.scalars(_ACTIVE_UNITS, self._key | {"of_unit": besides}))


class JournalRepository:
    """The journal of one execution of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID, execution_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id
        self._execution_id = execution_id

    def _mine(self, *conditions: ColumnElement[bool]) -> tuple[ColumnElement[bool], ...]:
        return (
            ExecutionStep.organization_id == self._organization_id,
            ExecutionStep.execution_id == self._execution_id,
            *conditions,
        )

    async def records(self) -> dict[str, StepRecord]:
        """Return the journal by step id: what counts now, of whatever epoch."""
        query = select(ExecutionStep).where(*self._mine(ExecutionStep.current == true()))
        query = query.order_by(ExecutionStep.epoch, ExecutionStep.journaled_at)
        return {row.step_id: record_of(row) for row in await self._session.scalars(query)}

    async def is_empty(self) -> bool:
        """Tell whether nothing is journaled."""
        return await self._session.scalar(select(ExecutionStep.step_id).where(*self._mine()).limit(1)) is None

    async def write(self, epoch: int, records: Sequence[StepRecord], *, replace: bool) -> None:
        """Store results.

        :param replace: Whether a result replaces one that is there (the same runner's, sent again) or yields to it.
            That a step was seen waiting is no result.
        """
        if not records:
            return
        rows = [self._row(epoch, record) for record in {record.id: record for record in records}.values()]
        await self._session.execute(_REPLACE_STEP if replace else _KEEP_STEP, rows)

    async def remove(self, step_ids: Iterable[str]) -> None:
        """Forget results, so that the steps run again in this epoch. Those of former epochs stay history."""
        await self._session.execute(delete(ExecutionStep).where(*self._current(step_ids)))

    async def retire(self, step_ids: Iterable[str]) -> None:
        """Make results history, so that the steps run again in a new epoch."""
        await self._session.execute(update(ExecutionStep).where(*self._current(step_ids)).values(current=False))

    def _current(self, step_ids: Iterable[str]) -> tuple[ColumnElement[bool], ...]:
        return self._mine(ExecutionStep.current == true(), ExecutionStep.step_id.in_(step_ids))

    def _row(self, epoch: int, record: StepRecord) -> dict[str, Any]:
        return {
            "organization_id": self._organization_id,
            "execution_id": self._execution_id,
            "epoch": epoch,
            "step_id": record.id,
            "status": record.status,
            "output": record.output,
            "error": record.error.model_dump() if record.error else None,
            "attempts": record.attempts,
            "started_at": record.started_at,
            "ended_at": record.ended_at,
            "duration_ms": record.duration_ms,
            "usage": [call.model_dump() for call in record.usage],
            "answer": record.answer.model_dump() if record.answer else None,
            "timing": record.timing.model_dump() if record.timing else None,
            "output_ref": record.output_ref.model_dump() if record.output_ref else None,
        }


def record_of(row: ExecutionStep) -> StepRecord:
    """Return a row of the journal as runners know it."""
    return StepRecord.model_validate(
        {
            "id": row.step_id,
            "status": row.status,
            "output": row.output,
            "error": row.error,
            "attempts": row.attempts,
            "started_at": row.started_at,
            "ended_at": row.ended_at,
            "duration_ms": row.duration_ms,
            "usage": row.usage,
            "answer": row.answer,
            "timing": row.timing,
            "output_ref": row.output_ref,
        }
    )
