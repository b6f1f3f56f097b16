"""SQL of retention by organisation: for sessions of ``Database.system``."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from api.models import Organization, WorkflowExecution


async def organizations(session: AsyncSession) -> list[Organization]:
    """Return every organisation."""
    return list((await session.scalars(select(Organization).order_by(Organization.id))).all())


async def remove_ended(session: AsyncSession, organization_id: UUID, before: datetime, count: int) -> int:
    """Remove executions of an organisation that ended before a moment, with their journals and all that refers to
    them; return how many. Those that someone works with are left."""
    execution = WorkflowExecution
    key = tuple_(execution.organization_id, execution.id)
    old = (
        select(execution.organization_id, execution.id)
        .where(execution.organization_id == organization_id, execution.completed_at < before)
        .limit(count)
        .with_for_update(skip_locked=True)
    )
    removed: Any = await session.execute(
        delete(execution).where(execution.organization_id == organization_id, key.in_(old))
    )
    return int(removed.rowcount)


async def remove_audit(session: AsyncSession, organization_id: UUID, before: datetime, count: int) -> int:
    """Remove entries of an organisation's audit log that are older than a moment; return how many."""
    return int(await session.scalar(select(func.governance.remove_audit(organization_id, before, count))) or 0)
