"""Who watches: a notification of each step costs every commit something, so it is sent while somebody does."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncSession

from api import notifications
from api.models import WorkflowExecution

WATCH_SECONDS = 600.0
"""How far ahead a stream marks its execution as watched. It does so anew long before, so clocks may differ."""
RENEW_SECONDS = 120.0


async def notify_watchers(session: AsyncSession, row: WorkflowExecution) -> None:
    """Tell whoever watches an execution that there is more to read, once the transaction commits."""
    if row.watched_until is not None and row.watched_until > datetime.now(UTC):
        await notifications.notify(session, notifications.STEPS, str(row.id))
