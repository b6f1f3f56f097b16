"""Starting an execution once, however often the same request comes."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api.idempotency.keys import RequestKey
from api.idempotency.repository import IdempotencyRepository, Known
from api.problems import Problem


class IdempotencyService:
    """Keys of one organisation. A key counts only if the session's transaction commits."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._keys = IdempotencyRepository(session, organization_id)

    async def started_before(self, key: RequestKey) -> Known | None:
        """Return what the same request started; None if this is the first, which is then noted.

        :raises Problem: 422 where the key came with another request; 409 where the same one is being answered, and the
            key does not wait for that.
        """
        if not key.waits and not await self._keys.take(key):
            detail = (
                f"A request with the idempotency key {key.key!r} is being answered. Send this one again in a second."
            )
            raise Problem(409, "request_in_flight", detail, headers={"retry-after": "1"})
        if await self._keys.add(key):
            return None
        known = await self._keys.find(key)
        assert known is not None, "the transaction that added it has committed"
        if known.digest != key.digest:
            detail = (
                f"An idempotency key must stay with its request for 24 hours; {key.key!r} came with another one "
                "before. Send a new key."
            )
            raise Problem(422, "idempotency_key_reused", detail, execution_id=str(known.execution_id))
        return known

    async def note_all(self, keys: Iterable[RequestKey], execution_id: UUID, answer: str) -> None:
        """Keep what the request of these keys started, and what it was answered: JSON."""
        for key in keys:
            await self._keys.note_started(key, execution_id, answer)
