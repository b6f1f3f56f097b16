"""The job ``partitions``: those of the coming months are made, and what had none is moved to its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import TypeVar

from api.upkeep.partitions.months import Month
from api.upkeep.partitions.repository import KEYS, BusyError, PartitionRepository, locked_tables
from api.upkeep.tools import Counts, Tools

log = logging.getLogger(__name__)

Result = TypeVar("Result")

AHEAD = 3
"""How many months are made before they begin."""
MOVED_AT_ONCE = 20_000
"""Most rows of a month that are moved: others wait while they are. More stay where they are, which is harmless."""
ATTEMPTS = 8
PAUSE_SECONDS = 1.0


async def make_partitions(tools: Tools, now: datetime | None = None) -> Counts:
    """Make the partitions of this month and the next, and of the months whose rows are in the default partitions.

    :param now: Instead of the database's time.
    """
    async with tools.database.system() as session:
        repository = PartitionRepository(session)
        this = Month.of(now or await repository.now())
        stray = await repository.months_in_default()
        there = set.intersection(*[await repository.months(table) for table in KEYS])
    coming = {this.after(count) for count in range(AHEAD + 1)}
    counts = {"made": 0, "executions_moved": 0, "steps_moved": 0, "months_left_in_default": 0, "postponed": 0}
    for month in sorted((coming - there) | stray):
        try:
            await patiently(partial(_make, tools, month, counts))
        except BusyError as error:
            log.warning("partitions of %s: %s; the next run tries again", month.name, error)
            counts["postponed"] += 1
    async with tools.database.system() as session:
        await PartitionRepository(session).analyze()
    return counts


async def _make(tools: Tools, month: Month, counts: Counts) -> None:
    async with locked_tables(tools.database) as repository:
        rows = await repository.in_default(month)
        if rows > MOVED_AT_ONCE:
            log.warning("%d rows of %s stay in the default partitions: too many to move", rows, month.name)
            counts["months_left_in_default"] += 1
            return
        if rows:
            moved = await repository.make_and_move(month)
            counts["executions_moved"] += moved.executions
            counts["steps_moved"] += moved.steps
        else:
            await repository.make(month)
        counts["made"] += 1


async def patiently(work: Callable[[], Awaitable[Result]]) -> Result:
    """Do a work that fails while others are busy; again and again, but not for ever.

    :raises BusyError: They are busy all the time.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            return await work()
        except BusyError:
            await asyncio.sleep(PAUSE_SECONDS)
    return await work()
