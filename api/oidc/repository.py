"""SQL of logins by a provider, of people who belong to no organisation yet: for sessions of ``Database.system``."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from api.accounts.repository import seconds
from api.models import Invitation, OidcFlow, User, UserIdentity


class FlowRepository:
    """Logins that have begun."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, digest: bytes, provider: str, redirect_uri: str, *, lifetime: float) -> None:
        """Note that a login has begun."""
        expires_at = func.now() + seconds(lifetime)
        self._session.add(OidcFlow(digest=digest, provider=provider, redirect_uri=redirect_uri, expires_at=expires_at))
        await self._session.flush()

    async def take(self, digest: bytes) -> OidcFlow | None:
        """Use a login up; None where there is none, or it is over."""
        return await self._session.scalar(
            delete(OidcFlow).where(OidcFlow.digest == digest, OidcFlow.expires_at > func.now()).returning(OidcFlow)
        )


class IdentityRepository:
    """Whom a provider's people are here."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def find(self, issuer: str, subject: str) -> User | None:
        """Return the user of a provider's subject."""
        query = (
            select(User)
            .join(UserIdentity, UserIdentity.user_id == User.id)
            .where(UserIdentity.issuer == issuer, UserIdentity.subject == subject)
        )
        return await self._session.scalar(query)

    async def link(self, issuer: str, subject: str, user_id: UUID) -> bool:
        """Have a provider's subject be a user; False where it is one already."""
        added = await self._session.scalar(
            insert(UserIdentity)
            .values(issuer=issuer, subject=subject, user_id=user_id)
            .on_conflict_do_nothing()
            .returning(UserIdentity.user_id)
        )
        return added is not None

    async def add_user(self, email: str, name: str) -> User | None:
        """Add a user without a password, whose address is verified; None where the address has one."""
        user_id = await self._session.scalar(
            insert(User).values(email=email, name=name, verified=True).on_conflict_do_nothing().returning(User.id)
        )
        return None if user_id is None else await self._session.get(User, user_id)

    async def open_invitations(self, email: str) -> Sequence[Invitation]:
        """Return the open invitations of an address, of every organisation, locked."""
        query = (
            select(Invitation)
            .where(
                Invitation.email == email,
                Invitation.accepted_at.is_(None),
                Invitation.revoked_at.is_(None),
                Invitation.expires_at > func.now(),
            )
            .order_by(Invitation.id)
            .with_for_update()
        )
        return (await self._session.scalars(query)).all()
