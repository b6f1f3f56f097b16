"""Pages of the audit log."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api.audit.repository import AuditRepository
from api.audit.schemas import AuditEntryView, AuditList, AuditPage
from api.models import AuditEntry
from api.pagination import Cursors
from api.settings import Settings


async def list_entries(session: AsyncSession, organization_id: UUID, settings: Settings, asked: AuditPage) -> AuditList:
    """Return a page of an organisation's log, the newest first.

    :raises Problem: 422, for a cursor of another list.
    """
    question = asked.model_dump(mode="json", exclude={"cursor", "limit"})
    cursors = Cursors(settings, organization_id, "audit-log", question)
    before = None if asked.cursor is None else cursors.read(asked.cursor)
    rows = await AuditRepository(session, organization_id).page(asked, before, asked.limit + 1)
    shown = [_view(row) for row in rows[: asked.limit]]
    return AuditList(entries=shown, next=cursors.write(shown[-1].id) if len(rows) > asked.limit else None)


def _view(row: AuditEntry) -> AuditEntryView:
    digests = {name: value.hex() if (value := getattr(row, name)) is not None else None for name in ("before", "after")}
    others = {name: getattr(row, name) for name in AuditEntryView.model_fields if name not in digests}
    return AuditEntryView(**others, **digests)
