"""Removes objects that nobody can ask for any more: first the object, then the row that says where it lies."""

from __future__ import annotations

import logging
from uuid import UUID

from api.database import Database
from api.objects.places import ObjectLostError, ObjectsAwayError
from api.objects.repository import OutputRepository
from api.objects.store import Kept
from api.retention.repository import organizations
from api.upkeep.tools import Counts, Tools

log = logging.getLogger(__name__)

BATCH = 200
MOST_BATCHES = 500
"""Of one organisation and run: what is left is the next run's."""


async def remove_orphans(tools: Tools) -> Counts:
    """Remove the outputs of executions that are no more, of every organisation."""
    counts = {"outputs": 0, "outputs_postponed": 0}
    async with tools.database.system() as session:
        rows = await organizations(session)
    for row in rows:
        try:
            counts["outputs"] += await _remove_all(tools.database, row.id, orphans=True)
        except ObjectsAwayError as error:
            log.warning("outputs of organisation %s stay until the next run: %s", row.id, error)
            counts["outputs_postponed"] += 1
    return counts


async def remove_every_object(database: Database, organization_id: UUID) -> None:
    """Remove all objects of an organisation, and the rows of its outputs.

    :raises ObjectsAwayError: Some are in a place that does not answer.
    """
    await _remove_all(database, organization_id, orphans=False)
    await database.objects.delete_all(organization_id)


async def _remove_all(database: Database, organization_id: UUID, *, orphans: bool) -> int:
    total = 0
    for _ in range(MOST_BATCHES):
        async with database.transaction(organization_id) as session:
            repository = OutputRepository(session, organization_id)
            rows = await (repository.orphans(BATCH) if orphans else repository.some(BATCH))
        for _, kept in rows:
            await _remove(database, organization_id, kept)
        async with database.transaction(organization_id) as session:
            keys = [(execution_id, kept.sha256) for execution_id, kept in rows]
            await OutputRepository(session, organization_id).forget(keys)
        total += len(rows)
        if len(rows) < BATCH:
            break
    return total


async def _remove(database: Database, organization_id: UUID, kept: Kept) -> None:
    try:
        await database.objects.delete(organization_id, kept.location)
    except ObjectLostError:
        log.warning("an output of organisation %s lay nowhere that could be its own", organization_id)
