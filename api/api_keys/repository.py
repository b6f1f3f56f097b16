"""SQL of API keys."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from api.api_keys.format import KeyParts
from api.models import ApiKey


class ApiKeyRepository:
    """API keys of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    async def add(
        self, name: str, key: KeyParts, permissions: list[str], *, made_by: UUID | None, expires_at: datetime | None
    ) -> ApiKey:
        """Add a key."""
        row = ApiKey(
            organization_id=self._organization_id,
            name=name,
            prefix=key.prefix,
            digest=key.digest,
            permissions=permissions,
            made_by=made_by,
            expires_at=expires_at,
        )
        self._session.add(row)
        await self._session.flush()
        await self._session.refresh(row)
        return row

    async def list(self, *, made_by: UUID | None, everybodys: bool) -> list[ApiKey]:
        """Return the keys of one maker (None is the operator) or of all, the newest first."""
        query = select(ApiKey).where(ApiKey.organization_id == self._organization_id).order_by(ApiKey.id.desc())
        if not everybodys:
            query = query.where(ApiKey.made_by.is_not_distinct_from(made_by))
        return [*await self._session.scalars(query)]

    async def revoke(self, key_id: UUID, *, made_by: UUID | None, everybodys: bool) -> bool:
        """Revoke a key; False if there is none of the maker. One that was revoked stays so since then."""
        statement = (
            update(ApiKey)
            .where(ApiKey.organization_id == self._organization_id, ApiKey.id == key_id)
            .values(revoked_at=func.coalesce(ApiKey.revoked_at, func.now()))
            .returning(ApiKey.id)
            .execution_options(synchronize_session=False)
        )
        if not everybodys:
            statement = statement.where(ApiKey.made_by.is_not_distinct_from(made_by))
        return await self._session.scalar(statement) is not None
