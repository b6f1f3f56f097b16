"""Writes results to the journal, one call at a time; results that are ready meanwhile share the next call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from operators.execution.clock import Clock
from operators.execution.outputs import lean
from operators.execution.patience import patiently
from operators.execution.records import ExecutionState, Journaling, StepRecord
from operators.execution.store import ExecutionStore

MAX_CALL_BYTES = 20_000_000
"""Of records in one call; one alone has at most an output and an answer of 10 MB each."""


class JournalWriter:
    """The journal of one unit.

    :param running: Says which steps run at the moment of a write.
    """

    def __init__(
        self,
        store: ExecutionStore,
        execution_id: str,
        unit: str,
        token: int,
        clock: Clock,
        running: Callable[[], list[str]],
    ) -> None:
        self._store = store
        self._execution_id = execution_id
        self._unit = unit
        self._token = token
        self._clock = clock
        self._running = running
        self._pending: list[StepRecord] = []
        self._halt = False
        self._lock = asyncio.Lock()
        self.state: ExecutionState | None = None

    async def write(self, records: list[StepRecord], *, halt: bool = False) -> None:
        """Return once the records are durable.

        :raises StaleLeaseError: Another runner took over; nothing was stored.
        :raises StoreError: The store stayed away.
        """
        self._pending.extend(map(lean, records))
        self._halt = self._halt or halt
        async with self._lock:
            # Empty where a writer before this one took the records along; not yet where they are large.
            while self._pending:
                await self._flush()

    async def announce(self) -> None:
        """Tell which steps run now."""
        async with self._lock:
            await self._flush()

    async def _flush(self) -> None:
        count = _fitting(self._pending)
        batch, self._pending = self._pending[:count], self._pending[count:]
        entry = Journaling(unit=self._unit, token=self._token, steps=batch, running=self._running(), halt=self._halt)
        try:
            self.state = await patiently(lambda: self._store.journal(self._execution_id, entry), self._clock)
        except BaseException:
            # Whoever waits for the lock with a record of this batch has to find it there.
            self._pending = batch + self._pending
            raise


def _fitting(records: list[StepRecord]) -> int:
    """Return how many of the records go into one call: at least one, and no more than it takes."""
    size = 0
    for count, record in enumerate(records if len(records) > 1 else ()):
        size += len(record.model_dump_json())
        if size > MAX_CALL_BYTES and count:
            return count
    return len(records)
