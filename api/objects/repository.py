"""SQL of the outputs that are objects."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import delete, exists, func, select, text, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from api.models import StoredOutput, WorkflowExecution
from api.objects.store import Kept

ORPHAN_AGE = text("interval '1 hour'")


class OutputRepository:
    """Outputs of one organisation that are objects."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    async def find(self, sha256: str, execution_id: UUID | None = None) -> Kept | None:
        """Return an output by its digest, of an execution or of any."""
        query = select(StoredOutput.sha256, StoredOutput.size, StoredOutput.location).where(
            StoredOutput.organization_id == self._organization_id, StoredOutput.sha256 == sha256
        )
        if execution_id is not None:
            query = query.where(StoredOutput.execution_id == execution_id)
        row = (await self._session.execute(query.order_by(StoredOutput.created_at.desc()).limit(1))).first()
        return None if row is None else Kept(*row)

    async def total(self, execution_id: UUID) -> int:
        """Return the bytes that an execution has kept."""
        query = select(func.coalesce(func.sum(StoredOutput.size), 0)).where(
            StoredOutput.organization_id == self._organization_id, StoredOutput.execution_id == execution_id
        )
        return int(await self._session.scalar(query) or 0)

    async def add(self, execution_id: UUID, kept: Kept) -> None:
        """Note an output that is about to be written."""
        await self._session.execute(
            insert(StoredOutput)
            .values(
                organization_id=self._organization_id,
                execution_id=execution_id,
                sha256=kept.sha256,
                size=kept.size,
                location=kept.location,
            )
            .on_conflict_do_nothing()
        )

    async def some(self, count: int) -> list[tuple[UUID, Kept]]:
        """Return some outputs with their executions."""
        return await self._rows(count)

    async def orphans(self, count: int) -> list[tuple[UUID, Kept]]:
        """Return some outputs whose executions are no more."""
        is_there = exists().where(
            WorkflowExecution.organization_id == StoredOutput.organization_id,
            WorkflowExecution.id == StoredOutput.execution_id,
        )
        return await self._rows(count, ~is_there, StoredOutput.created_at < func.now() - ORPHAN_AGE)

    async def _rows(self, count: int, *conditions: object) -> list[tuple[UUID, Kept]]:
        query = (
            select(StoredOutput.execution_id, StoredOutput.sha256, StoredOutput.size, StoredOutput.location)
            .where(StoredOutput.organization_id == self._organization_id, *conditions)  # type: ignore[arg-type]
            .limit(count)
        )
        return [(row[0], Kept(*row[1:])) for row in await self._session.execute(query)]

    async def forget(self, keys: Iterable[tuple[UUID, str]]) -> None:
        """Remove rows, by execution and digest."""
        await self._session.execute(
            delete(StoredOutput).where(
                StoredOutput.organization_id == self._organization_id,
                tuple_(StoredOutput.execution_id, StoredOutput.sha256).in_(list(keys)),
            )
        )
