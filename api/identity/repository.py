"""SQL that finds a caller, whose organisation is not known before."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import cast
from uuid import UUID

from sqlalchemy import and_, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from api.identity.permissions import Role
from api.models import ApiKey, Membership, Organization, User, UserSession


@dataclass(frozen=True)
class FoundCaller:
    """Who is behind a credential; ``role`` is None where the user has none in the organisation any more."""

    organization_id: UUID
    organization: str
    user_id: UUID | None
    email: str | None
    role: Role | None
    permissions: tuple[str, ...] = ()


def current_role(user: User | None, member_role: str | None) -> Role | None:
    """Return the role of a user: the platform's ``admin`` everywhere, else that of the membership."""
    if user is None or user.disabled_at is not None:
        return None
    return "admin" if user.platform_admin else cast("Role | None", member_role)


class CallerRepository:
    """Credentials of every organisation; for a session of :meth:`api.database.Database.system`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def of_session(self, session_id: UUID, user_id: UUID) -> FoundCaller | None:
        """Return the user of a session that lasts."""
        query = (
            select(Organization.id, Organization.slug, User, Membership.role)
            .select_from(UserSession)
            .join(User, User.id == UserSession.user_id)
            .join(Organization, Organization.id == UserSession.acting_organization_id)
            .outerjoin(Membership, and_(Membership.organization_id == Organization.id, Membership.user_id == User.id))
            .where(
                UserSession.id == session_id,
                UserSession.user_id == user_id,
                UserSession.revoked_at.is_(None),
                UserSession.expires_at > func.now(),
            )
        )
        row = (await self._session.execute(query)).first()
        if row is None:
            return None
        return FoundCaller(row.id, row.slug, row.User.id, row.User.email, current_role(row.User, row.role))

    async def of_api_key(self, prefix: str, digest: bytes) -> FoundCaller | None:
        """Return the maker of a key that is valid, and note that it was used."""
        query = (
            select(ApiKey, Organization.slug, User, Membership.role)
            .join(Organization, Organization.id == ApiKey.organization_id)
            .outerjoin(User, User.id == ApiKey.made_by)
            .outerjoin(
                Membership,
                and_(Membership.organization_id == ApiKey.organization_id, Membership.user_id == ApiKey.made_by),
            )
            .where(
                ApiKey.prefix == prefix,
                ApiKey.revoked_at.is_(None),
                (ApiKey.expires_at.is_(None)) | (ApiKey.expires_at > func.now()),
            )
        )
        for row in await self._session.execute(query):
            key: ApiKey = row.ApiKey
            if hmac.compare_digest(key.digest, digest):
                await self._note_use(key)
                email = row.User.email if row.User else None
                role = current_role(row.User, row.role)
                return FoundCaller(key.organization_id, row.slug, key.made_by, email, role, tuple(key.permissions))
        return None

    async def _note_use(self, key: ApiKey) -> None:
        """Note the use, once a minute: each request would otherwise write."""
        await self._session.execute(
            update(ApiKey)
            .where(
                ApiKey.organization_id == key.organization_id,
                ApiKey.id == key.id,
                ApiKey.last_used_at.is_(None)
                | (ApiKey.last_used_at < func.now() - func.make_interval(0, 0, 0, 0, 0, 1)),
            )
            .values(last_used_at=func.now())
            .execution_options(synchronize_session=False)
        )
