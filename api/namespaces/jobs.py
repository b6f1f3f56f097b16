"""Upkeep of namespaces and pods."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID

from api.namespaces.cluster import NamespaceError
from api.namespaces.preparing import open_namespaces
from api.namespaces.repository import UnfinishedRepository
from api.namespaces.service import warm_pods_of
from api.namespaces.settings import pod_settings
from api.organizations.repository import OrganizationRepository
from api.upkeep.tools import Counts, Tools

YOUNG = timedelta(seconds=60)
"""So old a pod must be before it is looked at: its execution's end may be on its way."""


async def keep_namespaces(tools: Tools) -> Counts:
    """Make every organisation's namespace, or set it right, and renew Airflow's way in."""
    namespaces = await asyncio.to_thread(open_namespaces, tools.settings)
    kept = failed = 0
    for slug in await _organizations(tools):
        try:
            await asyncio.to_thread(namespaces.ensure, slug)
            kept += 1
        except NamespaceError:
            failed += 1
    return {"kept": kept, "failed": failed}


async def remove_pods(tools: Tools) -> Counts:
    """Remove the pods whose execution is over or unknown: their worker was lost before it could. Keep warm pods."""
    namespaces = await asyncio.to_thread(open_namespaces, tools.settings)
    seen = removed = failed = 0
    warm: Counter[str] = Counter()
    for slug, organization_id in (await _organizations(tools)).items():
        try:
            pods = await asyncio.to_thread(namespaces.pods, slug)
            old = {name: _id(execution) for name, execution, made in pods if datetime.now(UTC) - made > YOUNG}
            async with tools.database.transaction(organization_id) as session:
                alive = await UnfinishedRepository(session, organization_id).among(filter(None, set(old.values())))
                kinds = await warm_pods_of(session, organization_id)
            seen += len(pods)
            for name, execution in old.items():
                if execution not in alive:
                    await asyncio.to_thread(namespaces.delete_pod, slug, name)
                    removed += 1
            warm.update(await asyncio.to_thread(namespaces.warm, slug, pod_settings(tools.settings, slug, kinds)))
        except NamespaceError:
            failed += 1
    return {"seen": seen, "removed": removed, "failed": failed, **warm}


async def _organizations(tools: Tools) -> dict[str, UUID]:
    async with tools.database.system() as session:
        return await OrganizationRepository(session).all()


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
