"""SQL of the deletion of an organisation: its tables are those of the catalogue, so that none is forgotten."""

from __future__ import annotations

from datetime import datetime
from graphlib import TopologicalSorter
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from api.models import (
    ApiKey,
    EventSubscription,
    Invitation,
    Membership,
    Organization,
    ReleaseArtifact,
    UserSession,
    WebhookRoute,
    WorkflowExecution,
)

AUDIT = "audit_log"
"""Its rows go by a function of the owner's."""

_TABLES = text(
    "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'organization_id'"
    " WHERE c.relnamespace = CAST('public' AS regnamespace) AND c.relkind IN ('r', 'p') AND NOT a.attisdropped"
    " ORDER BY c.relname"
)
_REFERENCES = text(
    "SELECT child.relname, parent.relname FROM pg_constraint k JOIN pg_class child ON child.oid = k.conrelid"
    " JOIN pg_class parent ON parent.oid = k.confrelid WHERE k.contype = 'f' AND k.conparentid = 0"
    " AND child.relnamespace = CAST('public' AS regnamespace)"
)


async def database_time(session: AsyncSession) -> datetime:
    """Return the database's time."""
    now: datetime = (await session.execute(select(func.now()))).scalar_one()
    return now


async def due(session: AsyncSession, now: datetime) -> list[Organization]:
    """Return the organisations whose days of grace are over."""
    query = select(Organization).where(Organization.deletion_due_at <= now).order_by(Organization.id)
    return list((await session.scalars(query)).all())


class DeletionRepository:
    """Everything of one organisation, for a session of ``Database.system``."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    async def lock_due(self, now: datetime) -> Organization | None:
        """Return the organisation, locked; None where its deletion was called off meanwhile."""
        query = select(Organization).where(
            Organization.id == self._organization_id, Organization.deletion_due_at <= now
        )
        return await self._session.scalar(query.with_for_update())

    async def close_doors(self) -> None:
        """Let nobody in any more: no member, no key, no webhook, no event."""
        for table in (Membership, Invitation, ApiKey, WebhookRoute, EventSubscription):
            await self._session.execute(delete(table).where(table.organization_id == self._organization_id))
        await self._session.execute(
            update(UserSession)
            .where(UserSession.acting_organization_id == self._organization_id, UserSession.revoked_at.is_(None))
            .values(revoked_at=func.now())
            .execution_options(synchronize_session=False)
        )

    async def unfinished(self) -> list[UUID]:
        """Return the executions that have not ended."""
        query = select(WorkflowExecution.id).where(
            WorkflowExecution.organization_id == self._organization_id, WorkflowExecution.completed_at.is_(None)
        )
        return list((await self._session.scalars(query)).all())

    async def released(self) -> list[str]:
        """Return the names of the files in the newest release."""
        query = select(ReleaseArtifact.name).where(
            ReleaseArtifact.organization_id == self._organization_id, ReleaseArtifact.valid_to.is_(None)
        )
        return list((await self._session.scalars(query)).all())

    async def dag_ids(self) -> list[str]:
        """Return every DAG that Airflow may know of the organisation."""
        query = select(ReleaseArtifact.name).where(
            ReleaseArtifact.organization_id == self._organization_id, ReleaseArtifact.name.endswith(".py")
        )
        return sorted({name.removesuffix(".py") for name in await self._session.scalars(query)})

    async def remove_executions(self, count: int) -> int:
        """Remove some executions with all that refers to them; return how many."""
        key = (WorkflowExecution.organization_id == self._organization_id,)
        some = select(WorkflowExecution.id).where(*key).limit(count)
        removed: Any = await self._session.execute(
            delete(WorkflowExecution).where(*key, WorkflowExecution.id.in_(some))
        )
        return int(removed.rowcount)

    async def forget_audit(self, count: int) -> int:
        """Remove some entries of the audit log; return how many."""
        return int(await self._session.scalar(select(func.governance.forget_audit(self._organization_id, count))) or 0)

    async def remove_rest(self) -> int:
        """Remove every row of every table, those that refer to others first, and the organisation; return how many."""
        total = 0
        for table in await self._tables():
            statement = text(f'DELETE FROM public."{table}" WHERE organization_id = :organization')  # noqa: S608
            removed: Any = await self._session.execute(statement, {"organization": self._organization_id})
            total += int(removed.rowcount)
        await self._session.execute(delete(Organization).where(Organization.id == self._organization_id))
        return total

    async def _tables(self) -> list[str]:
        tables = {row[0] for row in await self._session.execute(_TABLES)} - {AUDIT}
        before: dict[str, set[str]] = {table: set() for table in tables}
        for child, parent in await self._session.execute(_REFERENCES):
            if child in tables and parent in tables and child != parent:
                before[parent].add(child)
        return list(TopologicalSorter(before).static_order())
