"""SQL of invitations."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from api.accounts.repository import seconds
from api.models import Invitation


class InvitationRepository:
    """Invitations to one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    async def add(
        self, email: str, role: str, digest: bytes, *, by_mail: bool, invited_by: UUID | None, lifetime: float
    ) -> Invitation:
        """Add an invitation; open ones of the same address are revoked."""
        await self._session.execute(
            update(Invitation)
            .where(
                Invitation.organization_id == self._organization_id,
                Invitation.email == email,
                Invitation.accepted_at.is_(None),
                Invitation.revoked_at.is_(None),
            )
            .values(revoked_at=func.now())
            .execution_options(synchronize_session=False)
        )
        row = Invitation(
            organization_id=self._organization_id,
            email=email,
            role=role,
            digest=digest,
            by_mail=by_mail,
            invited_by=invited_by,
            expires_at=func.now() + seconds(lifetime),
        )
        self._session.add(row)
        await self._session.flush()
        await self._session.refresh(row)
        return row

    async def list(self) -> list[Invitation]:
        """Return the invitations, the newest first."""
        query = (
            select(Invitation)
            .where(Invitation.organization_id == self._organization_id)
            .order_by(Invitation.id.desc())
            .limit(500)
        )
        return [*await self._session.scalars(query)]

    async def revoke(self, invitation_id: UUID) -> bool:
        """Revoke an invitation; False if there is none that was not accepted."""
        statement = (
            update(Invitation)
            .where(
                Invitation.organization_id == self._organization_id,
                Invitation.id == invitation_id,
                Invitation.accepted_at.is_(None),
            )
            .values(revoked_at=func.coalesce(Invitation.revoked_at, func.now()))
            .returning(Invitation.id)
            .execution_options(synchronize_session=False)
        )
        return await self._session.scalar(statement) is not None


async def find_open(session: AsyncSession, digest: bytes, *, lock: bool = False) -> Invitation | None:
    """Return an open invitation by its token, of any organisation: for a session of ``Database.system``."""
    query = (
        select(Invitation)
        .where(
            Invitation.digest == digest,
            Invitation.accepted_at.is_(None),
            Invitation.revoked_at.is_(None),
            Invitation.expires_at > func.now(),
        )
        .limit(1)
    )
    found: Invitation | None = await session.scalar(query.with_for_update() if lock else query)
    return found
