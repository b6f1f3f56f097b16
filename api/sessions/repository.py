"""SQL of sessions and refresh tokens: for sessions of ``Database.system``."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from api.accounts.repository import seconds
from api.models import Organization, RefreshToken, UserSession


class SessionRepository:
    """Logins and their refresh tokens."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, user_id: UUID, organization_id: UUID, client: str, *, lifetime: float) -> UUID:
        """Add a session; return its id."""
        row = UserSession(
            user_id=user_id,
            acting_organization_id=organization_id,
            client=client,
            expires_at=func.now() + seconds(lifetime),
        )
        self._session.add(row)
        await self._session.flush()
        return row.id

    async def add_token(self, session_id: UUID, digest: bytes, *, lifetime: float) -> None:
        """Add a refresh token."""
        self._session.add(RefreshToken(digest=digest, session_id=session_id, expires_at=func.now() + seconds(lifetime)))
        await self._session.flush()

    async def lock_token(self, digest: bytes) -> RefreshToken | None:
        """Return a refresh token that is not over, locked: of two uses side by side one is the second."""
        return await self._session.scalar(
            select(RefreshToken)
            .where(RefreshToken.digest == digest, RefreshToken.expires_at > func.now())
            .with_for_update()
        )

    async def use_token(self, token: RefreshToken) -> None:
        """Note that a token was used, and its session with it."""
        token.used_at = func.now()
        await self._session.execute(
            update(UserSession)
            .where(UserSession.id == token.session_id)
            .values(used_at=func.now())
            .execution_options(synchronize_session=False)
        )

    async def lasting(self, session_id: UUID) -> UserSession | None:
        """Return a session that lasts."""
        query = select(UserSession).where(
            UserSession.id == session_id, UserSession.revoked_at.is_(None), UserSession.expires_at > func.now()
        )
        return await self._session.scalar(query)

    async def of_user(self, user_id: UUID) -> list[tuple[UserSession, str]]:
        """Return a user's sessions that last, with the slug of the organisation of each, the newest first."""
        query = (
            select(UserSession, Organization.slug)
            .join(Organization, Organization.id == UserSession.acting_organization_id)
            .where(
                UserSession.user_id == user_id, UserSession.revoked_at.is_(None), UserSession.expires_at > func.now()
            )
            .order_by(UserSession.id.desc())
        )
        return [(row.UserSession, row.slug) for row in await self._session.execute(query)]

    async def revoke(self, user_id: UUID, session_id: UUID | None = None, *, besides: UUID | None = None) -> int:
        """Revoke a user's session, or all but one; return how many lasted."""
        statement = (
            update(UserSession)
            .where(UserSession.user_id == user_id, UserSession.revoked_at.is_(None))
            .values(revoked_at=func.now())
            .returning(UserSession.id)
            .execution_options(synchronize_session=False)
        )
        if session_id is not None:
            statement = statement.where(UserSession.id == session_id)
        if besides is not None:
            statement = statement.where(UserSession.id != besides)
        return len((await self._session.scalars(statement)).all())

    async def switch(self, session_id: UUID, organization_id: UUID) -> None:
        """Have a session act for another organisation."""
        await self._session.execute(
            update(UserSession)
            .where(UserSession.id == session_id)
            .values(acting_organization_id=organization_id)
            .execution_options(synchronize_session=False)
        )
