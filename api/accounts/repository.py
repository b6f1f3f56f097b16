"""SQL of users, of their password links, and of counted tries: for sessions of ``Database.system``."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import case, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from api.models import Attempts, Membership, Organization, PasswordReset, User


def seconds(number: float) -> Any:
    """Return an interval of SQL."""
    return func.make_interval(0, 0, 0, 0, 0, 0, number)


class UserRepository:
    """Users; they belong to no organisation."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def find(self, email: str) -> User | None:
        """Return the user of an address in lower case."""
        return await self._session.scalar(select(User).where(User.email == email))

    async def get(self, user_id: UUID) -> User | None:
        """Return a user."""
        return await self._session.get(User, user_id)

    async def add(self, email: str, name: str, password_hash: str, *, verified: bool) -> User | None:
        """Add a user; None where the address has one."""
        user_id = await self._session.scalar(
            insert(User)
            .values(email=email, name=name, password_hash=password_hash, verified=verified)
            .on_conflict_do_nothing()
            .returning(User.id)
        )
        return None if user_id is None else await self.get(user_id)

    async def organizations(self, user_id: UUID) -> list[tuple[Organization, str]]:
        """Return the organisations of a user and the role in each, the oldest membership first."""
        query = (
            select(Organization, Membership.role)
            .join(Membership, Membership.organization_id == Organization.id)
            .where(Membership.user_id == user_id)
            .order_by(Membership.created_at, Organization.id)
        )
        return [(row.Organization, row.role) for row in await self._session.execute(query)]

    async def has_members(self, organization_id: UUID) -> bool:
        """Tell whether an organisation has any member."""
        query = select(Membership.user_id).where(Membership.organization_id == organization_id).limit(1)
        return await self._session.scalar(query) is not None

    async def add_member(self, organization_id: UUID, user_id: UUID, role: str) -> bool:
        """Make a user a member; False where they are one, whose role stays."""
        added = await self._session.scalar(
            insert(Membership)
            .values(organization_id=organization_id, user_id=user_id, role=role)
            .on_conflict_do_nothing()
            .returning(Membership.user_id)
        )
        return added is not None


class PasswordResetRepository:
    """Links to set a password anew."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def replace(self, user_id: UUID, digest: bytes, *, by_mail: bool, lifetime: float) -> None:
        """Add a link; those of before are void."""
        await self.forget(user_id)
        expires_at = func.now() + seconds(lifetime)
        self._session.add(PasswordReset(digest=digest, user_id=user_id, by_mail=by_mail, expires_at=expires_at))
        await self._session.flush()

    async def take(self, digest: bytes) -> PasswordReset | None:
        """Use a link up; None where it is unknown or over."""
        return await self._session.scalar(
            delete(PasswordReset)
            .where(PasswordReset.digest == digest, PasswordReset.expires_at > func.now())
            .returning(PasswordReset)
        )

    async def forget(self, user_id: UUID) -> None:
        """Make every link of a user void."""
        await self._session.execute(delete(PasswordReset).where(PasswordReset.user_id == user_id))


class AttemptRepository:
    """Counted tries."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def count(self, subject: str, window: float) -> tuple[int, float]:
        """Count a try; return how many there were in the window, and in how many seconds it ends."""
        is_over = Attempts.began_at < func.now() - seconds(window)
        row = (
            await self._session.execute(
                insert(Attempts)
                .values(subject=subject, count=1)
                .on_conflict_do_update(
                    index_elements=[Attempts.subject],
                    set_={
                        "count": case((is_over, 1), else_=Attempts.count + 1),
                        "began_at": case((is_over, func.now()), else_=Attempts.began_at),
                    },
                )
                .returning(Attempts.count, func.extract("epoch", Attempts.began_at + seconds(window) - func.now()))
            )
        ).one()
        return row[0], float(row[1])

    async def forget(self, subject: str) -> None:
        """Forget the tries of a subject."""
        await self._session.execute(delete(Attempts).where(Attempts.subject == subject))

    async def uncount(self, subject: str) -> None:
        """Take one try back."""
        await self._session.execute(
            update(Attempts)
            .where(Attempts.subject == subject, Attempts.count > 0)
            .values(count=Attempts.count - 1)
            .execution_options(synchronize_session=False)
        )
