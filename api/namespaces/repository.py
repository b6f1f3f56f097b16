"""SQL of the pods' reconciler."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from api.models import WorkflowExecution


class EndedRepository:
    """Which executions of one organisation need no pods any more."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    async def among(self, execution_ids: Iterable[UUID], since: timedelta) -> dict[UUID, bool]:
        """Tell of each of some executions whether it has been over for so long; ids of none are left out."""
        is_over = WorkflowExecution.completed_at <= func.clock_timestamp() - since
        query = select(WorkflowExecution.id, func.coalesce(is_over, False)).where(
            WorkflowExecution.organization_id == self._organization_id, WorkflowExecution.id.in_(list(execution_ids))
        )
        return dict((await self._session.execute(query)).all())
