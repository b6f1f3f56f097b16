"""The job ``retention``: old executions go by whole months, everything else that grows by its age."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from api.deletion.job import delete_organizations
from api.objects.upkeep import remove_orphans
from api.upkeep.partitions.months import Month
from api.upkeep.partitions.repository import EXECUTIONS, STEPS, BusyError, PartitionRepository, locked_tables, vacuum
from api.upkeep.partitions.service import patiently
from api.upkeep.repository import trusted_now
from api.upkeep.retention.organizations import keep_organizations
from api.upkeep.retention.repository import Aged, aged_rows, remove_aged
from api.upkeep.tools import Counts, Tools

log = logging.getLogger(__name__)

BATCH = 1000
"""Rows a transaction."""
MOST_BATCHES = 2000
"""Of one kind and run: what is left is the next run's."""


async def keep_retention(tools: Tools, now: datetime | None = None) -> Counts:
    """Remove what is older than the settings allow.

    :param now: Instead of the time of :func:`trusted_now`.
    """
    async with tools.database.system() as session:
        now = now or await trusted_now(session, "retention")
        months = await PartitionRepository(session).months(EXECUTIONS)
    before = now - timedelta(days=tools.settings.retention_days)
    counts = {"months_dropped": 0, "months_kept": 0, "postponed": 0, "executions": 0}
    for month in sorted(month for month in months if month.after().start <= before):
        try:
            await _drop_month(tools, month, before, counts)
        except BusyError as error:
            log.warning("executions of %s: %s; the next run tries again", month.name, error)
            counts["postponed"] += 1
    counts["executions"] += await _remove_ended(tools, None, before)
    for aged in aged_rows(tools.settings):
        counts[aged.name] = await _remove_aged(tools, aged, now)
    counts |= await keep_organizations(tools, now)
    counts |= await delete_organizations(tools, now)
    return counts | await remove_orphans(tools)


async def _drop_month(tools: Tools, month: Month, before: datetime, counts: Counts) -> None:
    """Drop the partitions of a month unless an execution in it has not ended long enough ago.

    The journal, by far the most of it, goes as a whole. The executions are removed one by one, so that what refers to
    them goes with them, and their partition when it is empty: to drop a full one, PostgreSQL would look through all
    tables that refer to it while everybody waits.

    :raises BusyError: It can be gone on with at any later time.
    """
    async with tools.database.system() as session:
        is_over = await PartitionRepository(session).is_over(month, before)
    if not is_over or not await patiently(partial(_drop_journal, tools, month)):
        counts["months_kept"] += 1
        return
    counts["executions"] += await _remove_ended(tools, month, before)
    await vacuum(tools.database, month)
    dropped = await patiently(partial(_drop_empty, tools, month))
    counts["months_dropped" if dropped else "months_kept"] += 1


async def _drop_journal(tools: Tools, month: Month) -> bool:
    """Drop the journal of a month; False if an execution of it was begun again meanwhile."""
    async with locked_tables(tools.database) as repository:
        if await repository.has_unfinished(month):
            return False
        await repository.drop(STEPS, month)
        return True


async def _drop_empty(tools: Tools, month: Month) -> bool:
    async with locked_tables(tools.database) as repository:
        if not await repository.is_empty(month):
            return False
        await repository.drop(EXECUTIONS, month)
        return True


async def _remove_ended(tools: Tools, month: Month | None, before: datetime) -> int:
    total, after = 0, UUID(int=0)
    for _ in range(MOST_BATCHES):
        async with tools.database.system() as session:
            removed = await PartitionRepository(session).remove_ended(month, before, after, BATCH)
        total += len(removed)
        if not removed:
            break
        after = max(removed)
    return total


async def _remove_aged(tools: Tools, aged: Aged, now: datetime) -> int:
    total = 0
    for _ in range(MOST_BATCHES):
        async with tools.database.system() as session:
            removed = await remove_aged(session, aged, now, BATCH)
        total += removed
        if removed < BATCH:
            break
    return total
