"""Removes what is left of an execution's pods once it is over: a step that waits for its pod has no worker for that.

The reconciler (``api/namespaces/jobs.py``) is the net below: it finds each pod that was missed here.
"""

from __future__ import annotations

import asyncio
import logging
from uuid import UUID

from api.database import Database
from api.executions.repository import ExecutionRepository
from api.namespaces.cluster import NamespaceError, Namespaces
from api.organizations.repository import OrganizationRepository
from api.relay.outages import Outage
from api.settings import Settings

log = logging.getLogger(__name__)

LONGEST_SECONDS = 10.0
"""How long the relay waits for the cluster: it has runs to start meanwhile."""
LONGEST_OUTAGE_DELAY_SECONDS = 30.0


class PodRemoval:
    """Removes the pods of executions that are over."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._namespaces: Namespaces | None = None
        self._away = Outage(LONGEST_OUTAGE_DELAY_SECONDS)
        """Of the cluster. While it lasts, executions are left to the reconciler."""

    async def remove(self, organization_id: UUID, execution_id: UUID) -> None:
        """Remove an execution's pods, if it is over. Where the cluster is away, the reconciler does it later."""
        if not self._settings.keeps_namespaces or self._away.seconds_left > 0:
            return
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                await self._remove(organization_id, execution_id)
        except (NamespaceError, TimeoutError) as error:
            self._away.begin_or_go_on()
            log.warning("relay: execution %s: its pods are left to the reconciler (%s)", execution_id, error or "slow")
        else:
            self._away.end()

    async def _remove(self, organization_id: UUID, execution_id: UUID) -> None:
        if self._namespaces is None:
            self._namespaces = await asyncio.to_thread(Namespaces, self._settings)
        async with self._database.transaction(organization_id) as session:
            organization = await OrganizationRepository(session).get(organization_id)
        if organization is None:
            return
        # Listed before the look at the execution: were it opened again, its new pods are not among these.
        pods = await asyncio.to_thread(self._namespaces.pods, organization.slug, execution_id)
        async with self._database.transaction(organization_id) as session:
            ended = await ExecutionRepository(session, organization_id).have_ended([execution_id])
        for pod in pods if ended.get(execution_id, True) else ():
            await asyncio.to_thread(self._namespaces.delete_pod, organization.slug, pod)
