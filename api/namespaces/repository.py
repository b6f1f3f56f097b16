"""SQL of the pods' reconciler."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api.models import WorkflowExecution


class UnfinishedRepository:
    """Executions of one organisation that may still have pods."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    async def among(self, execution_ids: Iterable[UUID]) -> set[UUID]:
        """Return those of some executions that are not over."""
        query = select(WorkflowExecution.id).where(
            WorkflowExecution.organization_id == self._organization_id,
            WorkflowExecution.id.in_(list(execution_ids)),
            WorkflowExecution.completed_at.is_(None),
        )
        return set(await self._session.scalars(query))
