"""Makes releases, tells what is in them, and removes what nobody can need any more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api.problems import not_found
from api.releases.contents import ArtifactLostProblem, StoredFile
from api.releases.repository import ArtifactRepository, ReleaseRepository
from api.releases.schemas import ReleaseEntry, ReleaseManifest

log = logging.getLogger(__name__)

_LARGEST_NUMBER = 2**63 - 1

KEEP = timedelta(days=1)
"""How long a replaced file stays in any case: a run that began in Airflow may take it up without an execution yet."""


@dataclass(frozen=True)
class Collected:
    """How much :func:`collect_releases` removed."""

    releases: int
    files: int
    artifacts: int


class ReleaseService:
    """Releases of the whole installation."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session
        self._releases = ReleaseRepository(session)

    async def make(self, organization_id: UUID, files: Mapping[str, bytes]) -> int:
        """Make the next release: the last one with these stored files added or replaced. Return its number.

        The caller holds the publish lock (:meth:`ReleaseRepository.lock`).
        """
        number = await self._releases.latest() + 1
        await self._releases.add(number)
        await ArtifactRepository(self._session, organization_id).release(number, files)
        return number

    async def latest(self, since: str | None = None) -> ReleaseManifest:
        """Return the newest release; number 0, without files, before the first publish.

        :param since: A release that the caller has; the answer is the difference from it, where that is known.
        """
        return await self._manifest(await self._releases.latest(), since)

    async def get(self, number: str, since: str | None = None) -> ReleaseManifest:
        """Return any release. Of one that was collected only the files that a run may name are left.

        :raises Problem: 404.
        """
        known = _number(number)
        if known is None or known > await self._releases.latest():
            raise not_found("release", number)
        return await self._manifest(known, since)

    async def contents(self, digests: Sequence[str]) -> list[bytes | None]:
        """Return the bytes of files, in the order of their digests; None for one that the object store has lost.

        :raises Problem: 404, where one was never stored; 503, where the object store does not answer.
        """
        stored = await self._releases.stored(digests)
        loaded = await asyncio.gather(*(self._load(file) for file in stored))
        found: dict[str, bytes | None] = {}
        for file, content in zip(stored, loaded, strict=True):
            # Organisations may have the same file: one of them is enough.
            found[file.sha256] = content if content is not None else found.get(file.sha256)
        for sha256 in digests:
            if sha256 not in found:
                raise not_found("artifact", sha256)
        return [found[sha256] for sha256 in digests]

    async def _load(self, file: StoredFile) -> bytes | None:
        try:
            return await file.load(self._session)
        except ArtifactLostProblem:
            log.error("file %s of organisation %s is lost in the object store", file.sha256, file.organization_id)
            return None

    async def _manifest(self, number: int, since: str | None) -> ReleaseManifest:
        before = _number(since) if since else None
        if before is not None and before <= number and await self._releases.is_kept(before):
            files, removed = await self._releases.changes(before, number)
        else:
            before, files, removed = None, await self._releases.files(number), []
        return ReleaseManifest(
            release=str(number),
            since=None if before is None else str(before),
            artifacts=[ReleaseEntry(name=file.name, sha256=file.sha256, size=file.size) for file in files],
            removed=removed,
        )


async def collect_releases(session: AsyncSession, keep: timedelta = KEEP) -> Collected:
    """Remove the files of versions that were replaced and that no execution has, and then their bytes.

    An execution can be retried or cleared for as long as its row is there: what keeps files is retention alone. The DAG
    of a pinned version leaves the newest release once no call can need it, and no execution is of it.
    Publishing waits meanwhile.

    :param keep: For how long a replaced file stays in any case.
    """
    releases = ReleaseRepository(session)
    await releases.lock()
    await _unpin(releases)
    settled = await releases.settled(keep)
    files = await releases.collect_files(settled)
    artifacts = await releases.collect_artifacts()
    return Collected(await releases.collect_releases(settled), files, artifacts)


async def _unpin(releases: ReleaseRepository) -> None:
    """Make a release without the DAGs of versions that nobody pins any more, if there are any."""
    files = await releases.unpinned()
    if files:
        number = await releases.latest() + 1
        await releases.add(number)
        await releases.end(number, files)


def _number(text: str) -> int | None:
    known = text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= _LARGEST_NUMBER
    return int(text) if known else None
