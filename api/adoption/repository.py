"""SQL of adopted runs."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from api.models import AdoptedRun, WorkflowExecution


class AdoptedRunRepository:
    """Adopted runs of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    async def find(self, dag_id: str, run_id: str) -> UUID | None:
        """Return the execution of a run."""
        return await self._session.scalar(
            select(AdoptedRun.execution_id).where(
                AdoptedRun.organization_id == self._organization_id,
                AdoptedRun.dag_id == dag_id,
                AdoptedRun.run_id == run_id,
            )
        )

    async def run_id_of(self, execution_id: UUID) -> str | None:
        """Return the run that an execution was made for; None for an execution that Airflow was told of."""
        return await self._session.scalar(
            select(AdoptedRun.run_id).where(
                AdoptedRun.organization_id == self._organization_id, AdoptedRun.execution_id == execution_id
            )
        )

    async def lock(self, dag_id: str, run_id: str) -> None:
        """Keep others from adopting the same run until the transaction ends."""
        key = f"{self._organization_id}/{dag_id}/{run_id}"
        await self._session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(key, 0))))

    async def add(self, dag_id: str, run_id: str, execution_id: UUID, clear_number: int) -> None:
        """Note whose run an execution is. Clears from before its adoption reopen nothing."""
        await self._session.execute(
            insert(AdoptedRun).values(
                organization_id=self._organization_id, dag_id=dag_id, run_id=run_id, execution_id=execution_id
            )
        )
        await self._session.execute(
            update(WorkflowExecution)
            .where(WorkflowExecution.organization_id == self._organization_id, WorkflowExecution.id == execution_id)
            .values(clear_number=clear_number)
        )

    async def forget(self, execution_id: UUID) -> None:
        """Forget whose run an execution is: Airflow has deleted the run."""
        await self._session.execute(
            delete(AdoptedRun).where(
                AdoptedRun.organization_id == self._organization_id, AdoptedRun.execution_id == execution_id
            )
        )
