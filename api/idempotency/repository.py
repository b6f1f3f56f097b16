"""SQL of idempotency keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Interval, Table, bindparam, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from api.idempotency.keys import RequestKey
from api.models import IdempotencyKey

_now = func.clock_timestamp


# Put together once: accepting asks these for each request. Their parameters have other names than the columns, which
# SQLAlchemy would set besides.
_keys = cast(Table, IdempotencyKey.__table__)
_NEW = insert(_keys).values(
    organization_id=bindparam("of_organization"),
    scope=bindparam("of_scope"),
    key=bindparam("of_key"),
    digest=bindparam("of_digest"),
    expires_at=_now() + bindparam("of_kept", type_=Interval()),
)
_ADD = _NEW.on_conflict_do_update(
    index_elements=["organization_id", "scope", "key"],
    set_={
        "digest": _NEW.excluded.digest,
        "execution_id": None,
        "answer": None,
        "received_at": _now(),
        "expires_at": _NEW.excluded.expires_at,
    },
    where=_keys.c.expires_at < _now(),
).returning(_keys.c.key)
_NOTE = text(
    "UPDATE idempotency_keys SET execution_id = :of_execution, answer = CAST(:of_answer AS json)"
    " WHERE organization_id = :of_organization AND scope = :of_scope AND key = :of_key"
)
_TAKE = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:of_organization || :of_scope || ' ' || :of_key, 0))")


@dataclass(frozen=True)
class Known:
    """A request that came before.

    :param execution_id: What it started.
    :param answer: What it was answered, ids and names only; None where a version before this one answered.
    """

    digest: str
    execution_id: UUID
    answer: dict[str, Any] | None


class IdempotencyRepository:
    """Keys that one organisation's callers sent lately."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    async def take(self, key: RequestKey) -> bool:
        """Keep others with the same key out until the transaction ends; False where one is in it."""
        values = self._names(key) | {"of_organization": str(self._organization_id)}
        return bool(await self._session.scalar(_TAKE, values))

    async def add(self, key: RequestKey) -> bool:
        """Note a key; False if it is known. Waits while another transaction adds the same one."""
        values = self._names(key) | {"of_digest": key.digest, "of_kept": key.kept}
        return (await self._session.execute(_ADD, values)).first() is not None

    async def find(self, key: RequestKey) -> Known | None:
        """Return what is known of a key."""
        columns = (IdempotencyKey.digest, IdempotencyKey.execution_id, IdempotencyKey.answer)
        row = (await self._session.execute(select(*columns).where(*self._is(key)))).first()
        return Known(row.digest, row.execution_id, row.answer) if row and row.execution_id else None

    async def note_started(self, key: RequestKey, execution_id: UUID, answer: str) -> None:
        """Keep what a request started, and what it was answered: JSON."""
        values = {"of_execution": execution_id, "of_answer": answer}
        await self._session.execute(_NOTE, self._names(key) | values)

    def _names(self, key: RequestKey) -> dict[str, Any]:
        return {"of_organization": self._organization_id, "of_scope": key.scope, "of_key": key.key}

    def _is(self, key: RequestKey) -> tuple[Any, ...]:
        return (
            IdempotencyKey.organization_id == self._organization_id,
            IdempotencyKey.scope == key.scope,
            IdempotencyKey.key == key.key,
        )
