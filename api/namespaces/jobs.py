"""Upkeep of namespaces and pods."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

from api.namespaces.cluster import FoundPod, NamespaceError, Namespaces
from api.namespaces.preparing import open_namespaces
from api.namespaces.repository import EndedRepository
from api.namespaces.service import warm_pods_of
from api.namespaces.settings import pod_settings
from api.organizations.repository import OrganizationRepository
from api.upkeep.tools import Counts, Tools

log = logging.getLogger(__name__)

OVER = timedelta(seconds=10)
"""So long an execution must be over before its pods go: whoever ended it removes them, and reads what they printed."""
YOUNG = timedelta(seconds=60)
"""So old a pod of no execution that we know must be before it goes."""


async def keep_namespaces(tools: Tools) -> Counts:
    """Make every organisation's namespace, or set it right, and renew Airflow's way in."""
    namespaces = await asyncio.to_thread(open_namespaces, tools.settings)
    kept = failed = 0
    for slug in await _organizations(tools):
        try:
            await asyncio.to_thread(namespaces.ensure, slug)
            kept += 1
        except NamespaceError as error:
            log.warning("upkeep: %s", error)
            failed += 1
    return {"kept": kept, "failed": failed}


async def remove_pods(tools: Tools) -> Counts:
    """Remove the pods whose execution is over or unknown, which nobody else could. Keep warm pods.

    What fails is counted, once for each pod and organisation, and does not keep the others from their turn.
    """
    namespaces = await asyncio.to_thread(open_namespaces, tools.settings)
    counts = Counter({"seen": 0, "removed": 0, "failed": 0})
    for slug, organization_id in (await _organizations(tools)).items():
        try:
            pods = await asyncio.to_thread(namespaces.pods, slug)
            async with tools.database.transaction(organization_id) as session:
                executions = set(filter(None, (_id(pod.execution) for pod in pods)))
                ended = await EndedRepository(session, organization_id).among(executions, OVER)
                kinds = await warm_pods_of(session, organization_id)
            counts["seen"] += len(pods)
            left = [pod for pod in pods if _is_left(pod, ended)]
            counts.update(await asyncio.to_thread(_delete, namespaces, slug, left))
            counts.update(await asyncio.to_thread(namespaces.warm, slug, pod_settings(tools.settings, slug, kinds)))
        except NamespaceError as error:
            log.warning("upkeep: %s", error)
            counts["failed"] += 1
    return dict(counts)


def _is_left(pod: FoundPod, ended: Mapping[UUID, bool]) -> bool:
    """Tell whether nobody needs a pod any more."""
    execution = _id(pod.execution)
    if execution is not None and execution in ended:
        return ended[execution]
    return datetime.now(UTC) - pod.made > YOUNG


def _delete(namespaces: Namespaces, slug: str, pods: Iterable[FoundPod]) -> Counts:
    counts = {"removed": 0, "failed": 0}
    for pod in pods:
        try:
            namespaces.delete_pod(slug, pod)
            counts["removed"] += 1
        except NamespaceError as error:
            log.warning("upkeep: %s", error)
            counts["failed"] += 1
    return counts


async def _organizations(tools: Tools) -> dict[str, UUID]:
    async with tools.database.system() as session:
        return await OrganizationRepository(session).staying()


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
