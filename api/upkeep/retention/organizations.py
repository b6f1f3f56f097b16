"""What organisations keep for less long than the platform does, and their audit logs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api.retention.repository import organizations, remove_audit, remove_ended
from api.retention.schemas import SHORTEST_AUDIT_DAYS
from api.upkeep.tools import Counts, Tools

Remove = Callable[[AsyncSession, UUID, datetime, int], Awaitable[int]]
BATCH = 1000
"""Rows a transaction."""
MOST_BATCHES = 2000
"""Of one kind, organisation and run: what is left is the next run's."""


async def keep_organizations(tools: Tools, now: datetime) -> Counts:
    """Remove what each organisation does not keep."""
    settings, counts = tools.settings, {"executions_of_organizations": 0, "audit_entries": 0}
    async with tools.database.system() as session:
        rows = await organizations(session)
    for row in rows:
        if row.retention_days is not None and row.retention_days < settings.retention_days:
            before = now - timedelta(days=row.retention_days)
            counts["executions_of_organizations"] += await _all(tools, remove_ended, row.id, before)
        days = min(row.audit_retention_days or settings.audit_retention_days, settings.audit_retention_days)
        before = now - timedelta(days=max(days, SHORTEST_AUDIT_DAYS))
        counts["audit_entries"] += await _all(tools, remove_audit, row.id, before)
    return counts


async def _all(tools: Tools, remove: Remove, organization_id: UUID, before: datetime) -> int:
    total = 0
    for _ in range(MOST_BATCHES):
        async with tools.database.system() as session:
            removed = await remove(session, organization_id, before, BATCH)
        total += removed
        if removed < BATCH:
            break
    return total
