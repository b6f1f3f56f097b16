"""Counts what was stored, once it is: a transaction that rolls back, and is tried again, counts nothing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from uuid import UUID

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession

from api.metrics.registry import (
    EXECUTIONS,
    EXECUTIONS_FAILED,
    EXECUTIONS_SUCCESS,
    TASK_ERROR,
    TASK_SECONDS,
    TASK_SUCCESS,
)
from operators.execution.records import FinalStatus, StepRecord

_KEPT = 10_000
_seen: OrderedDict[tuple[UUID, int, int, str, str], None] = OrderedDict()
"""Results counted of late: a runner whose answer was lost sends them again."""


def _on_commit(session: AsyncSession, count: Callable[[], None]) -> None:
    event.listen(session.sync_session, "after_commit", lambda _: count(), once=True)


def record_end(session: AsyncSession, status: FinalStatus) -> None:
    """Count the end of an execution when its transaction commits."""

    def count() -> None:
        EXECUTIONS.inc()
        if status == "success":
            EXECUTIONS_SUCCESS.inc()
        elif status == "failed":
            EXECUTIONS_FAILED.inc()

    _on_commit(session, count)


def record_steps(
    session: AsyncSession, execution_id: UUID, epoch: int, life: int, records: Iterable[StepRecord]
) -> None:
    """Count results of steps when their transaction commits, each once."""
    results = [
        ((execution_id, epoch, life, record.id, record.status), record.status, record.duration_ms)
        for record in records
        if record.status in ("success", "failed")
    ]
    if not results:
        return

    def count() -> None:
        for key, status, milliseconds in results:
            if _is_known(key):
                continue
            (TASK_SUCCESS if status == "success" else TASK_ERROR).inc()
            if milliseconds is not None:
                TASK_SECONDS.observe(milliseconds / 1000)

    _on_commit(session, count)


def _is_known(key: tuple[UUID, int, int, str, str]) -> bool:
    if key in _seen:
        return True
    _seen[key] = None
    if len(_seen) > _KEPT:
        _seen.popitem(last=False)
    return False
