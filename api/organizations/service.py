"""Organisations: make, list, rename."""

from __future__ import annotations

from api.accounts.repository import UserRepository
from api.database import Database
from api.identity.callers import Caller
from api.identity.repository import current_role
from api.organizations.repository import OrganizationRepository
from api.organizations.schemas import OrganizationCreate, OrganizationList, OrganizationView
from api.problems import Problem, not_found
from api.settings import Settings


class OrganizationService:
    """Organisations, as one caller sees them."""

    def __init__(self, database: Database, caller: Caller, settings: Settings) -> None:
        self._database = database
        self._caller = caller
        self._settings = settings

    async def make(self, order: OrganizationCreate) -> OrganizationView:
        """Make an organisation. It has no member: its first owner is invited.

        :raises Problem: 409 where the slug is taken, or where code of organisations is not kept apart.
        """
        if self._settings.isolation == "process":
            detail = (
                "With AGENT_FACTORY_ISOLATION=process there must be one organisation, for its code runs on this "
                "machine; got another one. Set AGENT_FACTORY_ISOLATION=kubernetes."
            )
            raise Problem(409, "isolation_process", detail)
        async with self._database.system() as session:
            row = await OrganizationRepository(session).add(order.slug, order.name)
        if row is None:
            raise Problem(409, "slug_taken", f"`slug` must be a new one; got {order.slug!r}, which is taken.")
        return OrganizationView(id=row.id, slug=row.slug, name=row.name, role=self._caller.role)

    async def list(self) -> OrganizationList:
        """Return the organisations in which the caller has a role of their own."""
        async with self._database.system() as session:
            if self._caller.user_id is None or self._caller.via == "api_key":
                row = await OrganizationRepository(session).get(self._caller.organization_id)
                found = [(row, self._caller.role)] if row else []
            else:
                users = UserRepository(session)
                user = await users.get(self._caller.user_id)
                rows = await users.organizations(self._caller.user_id)
                found = [(row, role) for row, member in rows if (role := current_role(user, member)) is not None]
        views = [OrganizationView(id=row.id, slug=row.slug, name=row.name, role=role) for row, role in found]
        return OrganizationList(organizations=views)

    async def rename(self, slug: str, name: str) -> OrganizationView:
        """Rename the organisation that the caller acts for.

        :raises Problem: 404 for any other.
        """
        if slug != self._caller.organization:
            raise not_found("organisation", slug)
        async with self._database.transaction(self._caller.organization_id) as session:
            row = await OrganizationRepository(session).get(self._caller.organization_id)
            if row is None:
                raise not_found("organisation", slug)
            row.name = name
        return OrganizationView(id=row.id, slug=row.slug, name=row.name, role=self._caller.role)
