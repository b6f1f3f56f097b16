"""SQL of the audit log: rows are added and read; nothing here could change one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from api.audit.schemas import AuditFilter
from api.models import AuditEntry, PlatformAuditEntry


@dataclass(frozen=True)
class Line:
    """An entry to add."""

    actor: str
    user_id: UUID | None
    api_key_id: UUID | None
    action: str
    resource: str
    before: bytes | None
    after: bytes | None
    address: str | None
    request_id: str | None


class AuditRepository:
    """The log of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    async def add(self, line: Line) -> None:
        """Add an entry."""
        await self._session.execute(insert(AuditEntry).values(organization_id=self._organization_id, **asdict(line)))

    async def page(self, asked: AuditFilter, before: UUID | None, limit: int) -> Sequence[AuditEntry]:
        """Return entries, the newest first."""
        return (await self._session.scalars(self.query(asked, before, limit))).all()

    def query(self, asked: AuditFilter, before: UUID | None, limit: int) -> Select[AuditEntry]:
        """Return the statement of a page."""
        return (
            select(AuditEntry)
            .where(AuditEntry.organization_id == self._organization_id)
            .where(*_conditions(asked, before))
            .order_by(AuditEntry.id.desc())
            .limit(limit)
        )


def _conditions(asked: AuditFilter, before: UUID | None) -> list[ColumnElement[bool]]:
    given: list[tuple[Any, Callable[[Any], ColumnElement[bool]]]] = [
        (before, lambda value: AuditEntry.id < value),
        (asked.action, lambda value: AuditEntry.action == value),
        (asked.resource, lambda value: AuditEntry.resource == value),
        (asked.user_id, lambda value: AuditEntry.user_id == value),
        (asked.at_from, lambda value: AuditEntry.at >= value),
        (asked.at_before, lambda value: AuditEntry.at < value),
    ]
    return [condition(value) for value, condition in given if value is not None]


async def add_of_platform(session: AsyncSession, line: Line) -> None:
    """Add an entry to the platform's own log."""
    await session.execute(insert(PlatformAuditEntry).values(**asdict(line)))


async def newest_of_platform(session: AsyncSession, limit: int) -> Sequence[PlatformAuditEntry]:
    """Return the newest entries of the platform's own log."""
    query = select(PlatformAuditEntry).order_by(PlatformAuditEntry.id.desc()).limit(limit)
    return (await session.scalars(query)).all()
