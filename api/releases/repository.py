"""SQL of artifacts and releases."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from api.models import Artifact, Release

_PUBLISH_LOCK = 4_210_077_002


class ArtifactRepository:
    """Files of one organisation, by digest."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    async def add(self, content: bytes) -> str:
        """Store a file unless it is there; return its sha256."""
        sha256 = hashlib.sha256(content).hexdigest()
        await self._session.execute(
            insert(Artifact)
            .values(organization_id=self._organization_id, sha256=sha256, content=content, size=len(content))
            .on_conflict_do_nothing()
        )
        return sha256

    async def content(self, sha256: str) -> bytes | None:
        """Return a file's bytes."""
        query = select(Artifact.content).where(
            Artifact.organization_id == self._organization_id, Artifact.sha256 == sha256
        )
        return await self._session.scalar(query)


class ReleaseRepository:
    """Releases hold the files of every organisation: only the runtime API, which is ours alone, reads them."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def lock(self) -> None:
        """Let one publish at a time through, until the transaction ends."""
        await self._session.execute(select(func.pg_advisory_xact_lock(_PUBLISH_LOCK)))

    async def latest(self) -> Release | None:
        """Return the newest release."""
        return await self._session.scalar(select(Release).order_by(Release.number.desc()).limit(1))

    async def get(self, number: int) -> Release | None:
        """Return a release."""
        return await self._session.scalar(select(Release).where(Release.number == number))

    async def add(self, number: int, manifest: list[dict[str, Any]]) -> None:
        """Store a release."""
        await self._session.execute(insert(Release).values(number=number, manifest=manifest))

    async def content(self, sha256: str) -> bytes | None:
        """Return the bytes of any organisation's file: the same digest is the same bytes."""
        return await self._session.scalar(select(Artifact.content).where(Artifact.sha256 == sha256).limit(1))
