"""Makes a release from the one before it and the files of one workflow."""

from __future__ import annotations

import hashlib
import re

from sqlalchemy.ext.asyncio import AsyncSession

from api.problems import not_found
from api.releases.repository import ReleaseRepository
from api.releases.schemas import ReleaseArtifact, ReleaseManifest

_DIGEST = re.compile(r"[0-9a-f]{64}")
_LARGEST_NUMBER = 2**63 - 1


class ReleaseService:
    """Releases of the whole installation."""

    def __init__(self, session: AsyncSession) -> None:
        self._releases = ReleaseRepository(session)

    async def make(self, files: dict[str, bytes]) -> int:
        """Make the next release: the last one with these files added or replaced. Return its number.

        The caller holds the publish lock (:meth:`ReleaseRepository.lock`).
        """
        latest = await self._releases.latest()
        manifest = {entry["name"]: entry for entry in latest.manifest} if latest else {}
        for name, content in files.items():
            sha256 = hashlib.sha256(content).hexdigest()
            manifest[name] = {"name": name, "sha256": sha256, "size": len(content)}
        number = latest.number + 1 if latest else 1
        await self._releases.add(number, [manifest[name] for name in sorted(manifest)])
        return number

    async def latest(self) -> ReleaseManifest:
        """Return the newest release; number 0, without files, before the first publish."""
        release = await self._releases.latest()
        return _manifest(release.number, release.manifest) if release else ReleaseManifest(release="0")

    async def get(self, number: str) -> ReleaseManifest:
        """Return any release.

        :raises Problem: 404.
        """
        if number == "0":
            return ReleaseManifest(release="0")
        known = number.isascii() and number.isdecimal() and len(number) < 20 and int(number) <= _LARGEST_NUMBER
        release = await self._releases.get(int(number)) if known else None
        if release is None:
            raise not_found("release", number)
        return _manifest(release.number, release.manifest)

    async def content(self, sha256: str) -> bytes:
        """Return the bytes of a file.

        :raises Problem: 404.
        """
        content = await self._releases.content(sha256) if _DIGEST.fullmatch(sha256) else None
        if content is None:
            raise not_found("artifact", sha256)
        return content


def _manifest(number: int, entries: list[dict[str, str | int]]) -> ReleaseManifest:
    return ReleaseManifest(release=str(number), artifacts=[ReleaseArtifact.model_validate(entry) for entry in entries])
