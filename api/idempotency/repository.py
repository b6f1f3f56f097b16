"""SQL of idempotency keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from api.idempotency.keys import RequestKey
from api.models import IdempotencyKey

_now = func.clock_timestamp


@dataclass(frozen=True)
class Known:
    """A request that came before, and what it started."""

    digest: str
    execution_id: UUID


class IdempotencyRepository:
    """Keys that one organisation's callers sent lately."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    async def add(self, key: RequestKey) -> bool:
        """Note a key; False if it is known. Waits while another transaction adds the same one."""
        expires_at = _now() + key.kept
        statement = insert(IdempotencyKey).values(
            organization_id=self._organization_id,
            scope=key.scope,
            key=key.key,
            digest=key.digest,
            expires_at=expires_at,
        )
        statement = statement.on_conflict_do_update(
            index_elements=["organization_id", "scope", "key"],
            set_={"digest": key.digest, "execution_id": None, "received_at": _now(), "expires_at": expires_at},
            where=IdempotencyKey.expires_at < _now(),
        )
        return (await self._session.execute(statement.returning(IdempotencyKey.key))).first() is not None

    async def find(self, key: RequestKey) -> Known | None:
        """Return what is known of a key."""
        query = select(IdempotencyKey.digest, IdempotencyKey.execution_id).where(*self._is(key))
        row = (await self._session.execute(query)).first()
        return Known(row.digest, row.execution_id) if row and row.execution_id else None

    async def note_started(self, key: RequestKey, execution_id: UUID) -> None:
        """Keep what a request started."""
        await self._session.execute(update(IdempotencyKey).where(*self._is(key)).values(execution_id=execution_id))

    def _is(self, key: RequestKey) -> tuple[Any, ...]:
        return (
            IdempotencyKey.organization_id == self._organization_id,
            IdempotencyKey.scope == key.scope,
            IdempotencyKey.key == key.key,
        )
