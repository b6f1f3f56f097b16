"""What there is to tell of an execution since a position: read from the journal, never from notifications."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from api.database import Database
from api.executions.live.repository import JournaledStep, LiveRepository, Standing
from api.executions.live.watching import WATCH_SECONDS
from api.executions.repository import ENDED, ExecutionRepository
from api.problems import not_found

_START = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_POSITION = re.compile(r"(\d{1,9})\.(\d{1,16})\.(\d{1,9})\.([a-z]{0,20})", re.ASCII)


@dataclass(frozen=True)
class Position:
    """How far a reader is; as text it is the ``id`` of an event.

    :param life: How often the execution was reopened: a life begins with nothing told.
    :param moment: When the last step was journaled that was told.
    :param count: How many steps were told.
    :param status: The last status of the execution that was told.
    """

    life: int = 0
    moment: datetime = _START
    count: int = 0
    status: str = ""

    @classmethod
    def read(cls, text: str | None) -> Position:
        """Return the position of an event's id; a text that is none is the beginning."""
        match = _POSITION.fullmatch(text or "")
        if match is None:
            return cls()
        try:
            moment = _START + int(match[2]) * _MICROSECOND
        except OverflowError:
            return cls()
        return cls(int(match[1]), moment, int(match[3]), match[4])

    def __str__(self) -> str:
        return f"{self.life}.{(self.moment - _START) // _MICROSECOND}.{self.count}.{self.status}"


class Feed:
    """Events of one execution of one organisation, as lines of ``text/event-stream``.

    :param position: Behind what was told already.
    """

    def __init__(self, database: Database, organization_id: UUID, execution_id: UUID, position: Position) -> None:
        self._database = database
        self._organization_id = organization_id
        self._execution_id = execution_id
        self._position = position
        self._told: set[tuple[int, str]] | None = None
        self._running: set[str] = set()

    async def is_over(self) -> bool:
        """Tell whether the execution has ended and the end was told.

        :raises Problem: 404.
        """
        async with self._database.transaction(self._organization_id) as session:
            standing = await self._live(session).standing()
        if standing is None:
            raise not_found("execution", self._execution_id)
        told = (self._position.life, self._position.status)
        return standing.status in ENDED and told == (standing.life, standing.status)

    async def watch(self) -> None:
        """Have runners notify of every step for a while."""
        async with self._database.transaction(self._organization_id) as session:
            await self._live(session).watch(WATCH_SECONDS)

    async def read(self) -> tuple[list[bytes], bool]:
        """Return the events that are new, and whether there will be no more."""
        async with self._database.transaction(self._organization_id) as session:
            live = self._live(session)
            # The execution first: where it has ended, all its steps are to be seen.
            standing = await live.standing()
            if standing is None:
                return [], True
            await self._find_place(live, standing)
            steps = await live.steps_after(self._position.moment)
            executions = ExecutionRepository(session, self._organization_id)
            running = set() if standing.status in ENDED else await executions.running(self._execution_id)
        events = [self._step(step) for step in steps]
        events += self._begun(running, standing, {step.step_id for step in steps})
        if standing.status != self._position.status:
            events.append(self._execution(standing))
        return events, standing.status in ENDED

    def _live(self, session: Any) -> LiveRepository:
        return LiveRepository(session, self._organization_id, self._execution_id)

    async def _find_place(self, live: LiveRepository, standing: Standing) -> None:
        """Check at the first look that the journal holds what was told; begin anew where it does not, or where the
        execution was reopened. So nothing is missed, whatever the reader sent or a clock did."""
        if standing.life != self._position.life:
            self._position, self._told = Position(standing.life), set()
            self._running.clear()
        elif self._told is None:
            told = await live.keys_until(self._position.moment)
            if (len(told), max(told.values(), default=_START)) == (self._position.count, self._position.moment):
                self._told = set(told)
            else:
                self._position, self._told = Position(standing.life), set()

    def _step(self, step: JournaledStep) -> bytes:
        assert self._told is not None, "the place is found first"
        self._told.add((step.epoch, step.step_id))
        self._running.discard(step.step_id)
        self._position = Position(self._position.life, step.journaled_at, len(self._told), self._position.status)
        data = {
            "step_id": step.step_id,
            "epoch": step.epoch,
            "status": step.status,
            "attempts": step.attempts,
            "started_at": step.started_at,
            "ended_at": step.ended_at,
            "duration_ms": step.duration_ms,
            "error": step.error,
        }
        return _event("step", data, self._position)

    def _begun(self, running: set[str], standing: Standing, journaled: set[str]) -> Iterable[bytes]:
        """Yield the steps that began; the journal does not hold them, so these events have no id."""
        for step_id in sorted(running - self._running - journaled):
            yield _event("step", {"step_id": step_id, "epoch": standing.epoch, "status": "running"}, None)
        self._running = running

    def _execution(self, standing: Standing) -> bytes:
        position = self._position
        self._position = Position(position.life, position.moment, position.count, standing.status)
        data = {
            "execution_id": self._execution_id,
            "status": standing.status,
            "epoch": standing.epoch,
            "started_at": standing.started_at,
            "completed_at": standing.completed_at,
            "error": standing.error,
        }
        return _event("execution", data, self._position)


def _event(name: str, data: dict[str, Any], position: Position | None) -> bytes:
    # JSON of orjson has no line breaks: one `data` line holds it.
    number = b"" if position is None else f"id: {position}\n".encode()
    return f"event: {name}\n".encode() + number + b"data: " + orjson.dumps(data) + b"\n\n"
