"""Ordering the deletion of an organisation, and calling it off."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from api.audit.trail import note
from api.deletion.repository import database_time
from api.deletion.schemas import DeletionView
from api.identity.callers import Caller
from api.models import Organization
from api.organizations.repository import OrganizationRepository
from api.problems import Problem, not_found
from api.settings import Settings


class DeletionService:
    """Deletion of the organisation that the caller acts for."""

    def __init__(self, session: AsyncSession, caller: Caller, settings: Settings) -> None:
        self._session = session
        self._caller = caller
        self._settings = settings

    async def show(self, slug: str) -> DeletionView:
        """Return when the organisation is deleted.

        :raises Problem: 404 where it is not the caller's, or none was ordered.
        """
        return _view(await self._row(slug))

    async def order(self, slug: str, confirm: str) -> DeletionView:
        """Have the organisation deleted after the days of grace; a second order changes nothing.

        :raises Problem: 404 for any other organisation; 403 for an API key; 409 for the one of the settings; 422 where
            the name is not repeated.
        """
        self._refuse_keys()
        row = await self._row(slug)
        if confirm != slug:
            raise Problem(422, "not_confirmed", f"`confirm` must repeat the organisation's slug, {slug!r}.")
        if slug == self._settings.organization:
            detail = "This organisation is the one of AGENT_FACTORY_ORGANIZATION, which each start makes; it stays."
            raise Problem(409, "organization_operated", detail)
        if row.deletion_due_at is None:
            grace = timedelta(days=self._settings.organization_deletion_days)
            row.deletion_due_at = await database_time(self._session) + grace
        note(after={"due_at": row.deletion_due_at})
        return _view(row)

    async def call_off(self, slug: str) -> None:
        """Keep the organisation after all.

        :raises Problem: 404 where no deletion was ordered; 403 for an API key; 409 where it has begun.
        """
        self._refuse_keys()
        row = await self._row(slug)
        due_at = _view(row).due_at
        if row.deletion_began_at is not None:
            raise Problem(409, "deletion_began", "The deletion has begun; nothing can stop it any more.")
        note(before={"due_at": due_at})
        row.deletion_due_at = None

    def _refuse_keys(self) -> None:
        if self._caller.via == "api_key":
            detail = "An API key cannot order or call off the deletion of an organisation. Log in and do it yourself."
            raise Problem(403, "login_needed", detail)

    async def _row(self, slug: str) -> Organization:
        organizations = OrganizationRepository(self._session)
        row = await organizations.get(self._caller.organization_id) if slug == self._caller.organization else None
        if row is None:
            raise not_found("organisation", slug)
        await organizations.lock(row.id)
        await self._session.refresh(row)
        return row


def _view(row: Organization) -> DeletionView:
    if row.deletion_due_at is None:
        raise not_found("deletion of the organisation", row.slug)
    return DeletionView(organization=row.slug, due_at=row.deletion_due_at)
