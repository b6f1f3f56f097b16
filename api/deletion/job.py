"""Deletes the organisations whose days of grace are over, in two rounds.

The first closes the doors, cancels what runs, and has Airflow lose the DAGs. The second, when Airflow has had the time
to, has it forget their runs, and removes every row. What cannot be done now is the next round's.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.exc import IntegrityError

from api.audit.trail import record
from api.database import narrow
from api.deletion.repository import DeletionRepository, due
from api.executions.service import ExecutionService
from api.models import Organization
from api.namespaces.cluster import NamespaceError
from api.namespaces.preparing import open_namespaces
from api.objects.places import ObjectsAwayError
from api.objects.upkeep import remove_every_object
from api.problems import Problem
from api.relay.airflow import AirflowAwayError, AirflowRefusedError
from api.releases.repository import ReleaseRepository
from api.upkeep.tools import Counts, Tools

log = logging.getLogger(__name__)

SETTLING = timedelta(hours=6)
"""Between the rounds: tasks may read their files from the release before for so long."""
BATCH = 1000
POSTPONES = (AirflowAwayError, AirflowRefusedError, ObjectsAwayError, NamespaceError, Problem, IntegrityError)


async def delete_organizations(tools: Tools, now: datetime) -> Counts:
    """Go on with every deletion that is due."""
    counts = {"organizations_closed": 0, "organizations_deleted": 0, "deletions_postponed": 0}
    async with tools.database.system() as session:
        rows = await due(session, now)
    for row in rows:
        try:
            if row.deletion_began_at is None:
                counts["organizations_closed"] += await _close(tools, row.id, now)
            elif row.deletion_began_at <= now - SETTLING:
                await _delete(tools, row)
                counts["organizations_deleted"] += 1
        except POSTPONES as error:
            log.warning("the deletion of organisation %s goes on later: %s", row.id, type(error).__name__)
            counts["deletions_postponed"] += 1
    return counts


async def _close(tools: Tools, organization_id: UUID, now: datetime) -> bool:
    """Let nobody in and nothing run any more; False where the deletion was called off meanwhile."""
    async with tools.database.system() as session:
        releases, repository = ReleaseRepository(session), DeletionRepository(session, organization_id)
        await releases.lock()
        row = await repository.lock_due(now)
        if row is None:
            return False
        row.deletion_began_at = now
        await repository.close_doors()
        files = await repository.released()
        if files:
            number = await releases.latest() + 1
            await releases.add(number)
            await releases.end(number, [(organization_id, name) for name in files])
    await _cancel(tools, organization_id)
    await tools.airflow.push()
    return True


async def _cancel(tools: Tools, organization_id: UUID) -> None:
    """Cancel what has not ended: the relay has Airflow stop it."""
    async with tools.database.system() as session:
        unfinished = await DeletionRepository(session, organization_id).unfinished()
    for execution_id in unfinished:
        async with tools.database.system() as session:
            await narrow(session, organization_id)
            await ExecutionService(session, organization_id, tools.settings, tools.plans).cancel(execution_id)


async def _delete(tools: Tools, organization: Organization) -> None:
    """Remove everything, and leave one line in the platform's own log.

    :raises AirflowAwayError: Airflow does not answer.
    :raises AirflowRefusedError: Airflow keeps a DAG, for a task of it runs.
    :raises ObjectsAwayError: The object store does not answer.
    :raises NamespaceError: The cluster does not answer, or has not removed the organisation's namespace yet.
    :raises Problem: There is no cluster.
    :raises IntegrityError: A worker wrote something meanwhile.
    """
    organization_id = organization.id
    # Again: the process may have died before it was through.
    await _cancel(tools, organization_id)
    async with tools.database.system() as session:
        dag_ids = await DeletionRepository(session, organization_id).dag_ids()
    for dag_id in dag_ids:
        await tools.airflow.delete_dag(dag_id)
    while True:
        async with tools.database.system() as session:
            repository = DeletionRepository(session, organization_id)
            removed = await repository.remove_executions(BATCH) + await repository.forget_audit(BATCH)
        if not removed:
            break
    await remove_every_object(tools.database, organization_id)
    if tools.settings.keeps_namespaces:
        namespaces = await asyncio.to_thread(open_namespaces, tools.settings)
        await asyncio.to_thread(namespaces.remove, organization.slug)
    async with tools.database.system() as session:
        # In one transaction: a row that comes meanwhile stops it, and the next round takes that too.
        rows = await DeletionRepository(session, organization_id).remove_rest()
        after = {"slug": organization.slug, "rows": rows}
        await record(
            session, "organization.delete", f"organizations/{organization_id}", organization_id=None, after=after
        )
