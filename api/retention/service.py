"""How long an organisation keeps its executions and its audit log: never longer than the platform does."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api.audit.trail import note
from api.models import Organization
from api.organizations.repository import OrganizationRepository
from api.problems import Problem
from api.retention.schemas import RetentionChange, RetentionView
from api.settings import Settings


class RetentionService:
    """Retention of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID, settings: Settings) -> None:
        self._organizations = OrganizationRepository(session)
        self._organization_id = organization_id
        self._settings = settings

    async def show(self) -> RetentionView:
        """Return how long things are kept."""
        return self._view(await self._row())

    async def change(self, order: RetentionChange) -> RetentionView:
        """Change how long things are kept; the next round of upkeep removes what is older.

        :raises Problem: 422 for longer than the platform keeps things.
        """
        for name, asked, longest in (
            ("executions", order.executions, self._settings.retention_days),
            ("audit_log", order.audit_log, self._settings.audit_retention_days),
        ):
            if asked is not None and asked > longest:
                detail = f"`{name}` must be at most {longest}, for the platform keeps them no longer; got {asked}."
                raise Problem(422, "beyond_platform", detail)
        row = await self._row()
        before = self._view(row)
        row.retention_days, row.audit_retention_days = order.executions, order.audit_log
        after = self._view(row)
        note(before=before, after=after)
        return after

    async def _row(self) -> Organization:
        row = await self._organizations.get(self._organization_id)
        assert row is not None, "the caller acts for it"
        return row

    def _view(self, row: Organization) -> RetentionView:
        settings = self._settings
        return RetentionView(
            executions=min(row.retention_days or settings.retention_days, settings.retention_days),
            longest_executions=settings.retention_days,
            audit_log=min(row.audit_retention_days or settings.audit_retention_days, settings.audit_retention_days),
            longest_audit_log=settings.audit_retention_days,
        )
