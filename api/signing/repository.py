"""SQL of signing keys."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, func, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from api.models import SigningKey

_LOCK = 4_210_077_011  # any number, the same in every process


def _seconds(number: float) -> Any:
    return func.make_interval(0, 0, 0, 0, 0, 0, number)


class SigningKeyRepository:
    """The platform's signing keys."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def lock(self) -> None:
        """Let one process at a time make or retire keys, until the transaction ends."""
        await self._session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})

    async def trusted(self) -> list[SigningKey]:
        """Return the keys that are trusted, the newest first."""
        query = (
            select(SigningKey)
            .where(or_(SigningKey.trusted_until.is_(None), SigningKey.trusted_until > func.now()))
            .order_by(SigningKey.signs_from.desc())
        )
        return list(await self._session.scalars(query))

    async def is_older_than(self, key: SigningKey, seconds: float) -> bool:
        """Tell whether a key was made longer ago, by the database's clock."""
        query = select(SigningKey.created_at < func.now() - _seconds(seconds)).where(SigningKey.kid == key.kid)
        return bool(await self._session.scalar(query))

    async def add(self, kid: str, public_jwk: dict[str, Any], private_key: bytes, *, delay: float) -> None:
        """Add a key that signs after ``delay`` seconds."""
        self._session.add(
            SigningKey(kid=kid, public_jwk=public_jwk, private_key=private_key, signs_from=func.now() + _seconds(delay))
        )
        await self._session.flush()

    async def retire_others(self, kid: str, *, after: float) -> None:
        """End the trust in every other key after so many seconds, where it does not end before."""
        until = func.now() + _seconds(after)
        await self._session.execute(
            update(SigningKey)
            .where(SigningKey.kid != kid, or_(SigningKey.trusted_until.is_(None), SigningKey.trusted_until > until))
            .values(trusted_until=until)
            .execution_options(synchronize_session=False)
        )

    async def remove_distrusted(self) -> None:
        """Remove the keys that are trusted no more."""
        await self._session.execute(delete(SigningKey).where(SigningKey.trusted_until <= func.now()))
