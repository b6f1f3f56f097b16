"""SQL of artifacts and releases."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, LargeBinary, delete, exists, func, null, or_, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from api.models import Artifact, Release, ReleaseArtifact, WorkflowExecution, WorkflowVersion
from api.objects.places import ObjectLostError, ObjectsAwayError
from api.objects.store import store_of
from api.releases.contents import ArtifactLostProblem, StoredFile, put_file

_PUBLISH_LOCK = 4_210_077_002

REMOVED_AT_ONCE = 1000
_FILE = (Artifact.organization_id, Artifact.sha256, Artifact.size, Artifact.content, Artifact.location)
_FILE_OF_NONE = (*_FILE[:3], null().cast(LargeBinary), Artifact.location)
"""Without the content: there may be many."""
_PINNED_EXECUTION = exists().where(
    WorkflowExecution.organization_id == ReleaseArtifact.organization_id,
    WorkflowExecution.pinned_dag_id == func.regexp_replace(ReleaseArtifact.name, r"\.(py|plan\.json)$", ""),
)

# The calls of a version can be made for as long as it is current or has an execution, which may run again; so can those
# of the versions that it pins.
_UNPINNED = text(
    r"""
    WITH RECURSIVE needed AS (
        SELECT pin.organization_id, pin.pinned_version_id FROM version_pins pin
        JOIN workflow_versions caller
            ON (caller.organization_id, caller.id) = (pin.organization_id, pin.version_id)
        WHERE NOT EXISTS (
            SELECT FROM workflow_versions newer
            WHERE (newer.organization_id, newer.agent_id) = (caller.organization_id, caller.agent_id)
                AND newer.number > caller.number
        ) OR EXISTS (
            SELECT FROM workflow_executions e
            WHERE (e.organization_id, e.agent_id, e.version_id) = (caller.organization_id, caller.agent_id, caller.id)
        )
        UNION
        SELECT pin.organization_id, pin.pinned_version_id FROM needed
        JOIN version_pins pin
            ON (pin.organization_id, pin.version_id) = (needed.organization_id, needed.pinned_version_id)
    ),
    pinned AS (
        SELECT organization_id, name, regexp_replace(name, '\.(py|plan\.json)$', '') AS dag_id
        FROM release_artifacts WHERE valid_to IS NULL AND name ~ '-v[0-9]+\.(py|plan\.json)$'
    )
    SELECT organization_id, name FROM pinned
    WHERE NOT EXISTS (
        SELECT FROM needed
        JOIN workflow_versions v ON (v.organization_id, v.id) = (needed.organization_id, needed.pinned_version_id)
        WHERE (v.organization_id, v.dag_id || '-v' || v.number) = (pinned.organization_id, pinned.dag_id)
    ) AND NOT EXISTS (
        SELECT FROM workflow_executions e
        WHERE (e.organization_id, e.pinned_dag_id) = (pinned.organization_id, pinned.dag_id)
    )
    """
)


@dataclass(frozen=True)
class ReleasedFile:
    """A file of a release; ``size`` in bytes."""

    name: str
    sha256: str
    size: int


class ArtifactRepository:
    """Files of one organisation, by digest, and in which releases they are."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    async def add(self, content: bytes) -> str:
        """Store a file unless it is there; return its sha256.

        One that is an object is written anew: that heals one that was lost.

        :raises Problem: 503: the object store does not answer.
        """
        sha256 = hashlib.sha256(content).hexdigest()
        known = await self._find(sha256)
        if known is None or known.location is not None:
            await self._write(sha256, content)
        return sha256

    async def _write(self, sha256: str, content: bytes) -> None:
        place: dict[str, Any] = {"content": content, "location": None}
        if store_of(self._session).takes_artifacts:
            location = await put_file(self._session, self._organization_id, sha256, content)
            place = {"content": None, "location": location}
        await self._session.execute(
            insert(Artifact)
            .values(organization_id=self._organization_id, sha256=sha256, size=len(content), **place)
            .on_conflict_do_update(index_elements=["organization_id", "sha256"], set_=place)
        )

    async def content(self, sha256: str) -> bytes | None:
        """Return a file's bytes.

        :raises Problem: 503: it is an object, and is lost or cannot be read now.
        """
        found = await self._find(sha256)
        return None if found is None else await found.load(self._session)

    async def heal(self, content: bytes) -> bool:
        """Write a stored file anew if it is an object that was lost; tell whether it was.

        :raises Problem: 503: the object store does not answer.
        """
        found = await self._find(hashlib.sha256(content).hexdigest())
        if found is None or found.location is None:
            return False
        try:
            await found.load(self._session)
        except ArtifactLostProblem:
            await self._write(found.sha256, content)
            return True
        return False

    async def _find(self, sha256: str) -> StoredFile | None:
        query = select(*_FILE).where(Artifact.organization_id == self._organization_id, Artifact.sha256 == sha256)
        row = (await self._session.execute(query)).first()
        return None if row is None else StoredFile(*row)

    async def released(self, names: Collection[str]) -> dict[str, str]:
        """Return the digests that files of these names have in the newest release."""
        rows = await self._session.execute(
            select(ReleaseArtifact.name, ReleaseArtifact.sha256).where(
                ReleaseArtifact.organization_id == self._organization_id,
                ReleaseArtifact.name.in_(names),
                ReleaseArtifact.valid_to.is_(None),
            )
        )
        return dict(rows.all())

    async def release(self, number: int, files: Mapping[str, bytes]) -> None:
        """Put stored files, by name, into a release and those after it, in the place of others of their names."""
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        same = {name for name, sha256 in (await self.released(digests)).items() if digests[name] == sha256}
        new = [
            {
                "organization_id": self._organization_id,
                "name": name,
                "valid_from": number,
                "sha256": digests[name],
                "size": len(content),
            }
            for name, content in files.items()
            if name not in same
        ]
        if not new:
            return
        await self._session.execute(
            update(ReleaseArtifact)
            .where(
                ReleaseArtifact.organization_id == self._organization_id,
                ReleaseArtifact.name.in_([row["name"] for row in new]),
                ReleaseArtifact.valid_to.is_(None),
            )
            .values(valid_to=number)
        )
        await self._session.execute(insert(ReleaseArtifact).values(new))


class ReleaseRepository:
    """Releases hold the files of every organisation: only the runtime API, which is ours alone, reads them."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def lock(self) -> None:
        """Let one publish at a time through, until the transaction ends."""
        await self._session.execute(select(func.pg_advisory_xact_lock(_PUBLISH_LOCK)))

    async def latest(self) -> int:
        """Return the newest release's number; 0 before the first publish."""
        return await self._session.scalar(select(func.max(Release.number))) or 0

    async def add(self, number: int) -> None:
        """Store a release."""
        await self._session.execute(insert(Release).values(number=number))

    async def is_kept(self, number: int) -> bool:
        """Tell whether every file of a release is still here; of one that was collected some may be gone."""
        return await self._session.scalar(select(Release.number).where(Release.number == number)) is not None

    async def files(self, number: int) -> list[ReleasedFile]:
        """Return the files of a release, ordered by name."""
        return await self._files(_is_in(number))

    async def changes(self, before: int, after: int) -> tuple[list[ReleasedFile], list[str]]:
        """Return the files that a release has and an older one has not, and the names that only the older one has."""
        files = await self._files(ReleaseArtifact.valid_from > before, _is_in(after))
        gone = await self._files(ReleaseArtifact.valid_to > before, ReleaseArtifact.valid_to <= after, _is_in(before))
        kept = {file.name for file in files}
        return files, [file.name for file in gone if file.name not in kept]

    async def _files(self, *conditions: ColumnElement[bool]) -> list[ReleasedFile]:
        query = select(ReleaseArtifact.name, ReleaseArtifact.sha256, ReleaseArtifact.size).where(*conditions)
        # Not by the database: its order of "-", "_" and "." depends on its locale.
        return sorted((ReleasedFile(*row) for row in await self._session.execute(query)), key=lambda file: file.name)

    async def stored(self, digests: Sequence[str]) -> list[StoredFile]:
        """Return any organisation's files: the same digest is the same bytes."""
        rows = await self._session.execute(select(*_FILE).where(Artifact.sha256.in_(digests)))
        return [StoredFile(*row) for row in rows]

    async def settled(self, age: timedelta) -> int:
        """Return the newest of the releases that are older than this; 0 where none is."""
        query = select(func.max(Release.number)).where(Release.created_at < func.now() - age)
        return await self._session.scalar(query) or 0

    async def unpinned(self) -> list[tuple[UUID, str]]:
        """Return the files in the newest release, by organisation and name, that are of a version's own DAG which no
        call can need any more and no execution is of.
        """
        return [(row.organization_id, row.name) for row in await self._session.execute(_UNPINNED)]

    async def end(self, number: int, files: Sequence[tuple[UUID, str]]) -> None:
        """Leave files out of a release and those after it."""
        await self._session.execute(
            update(ReleaseArtifact)
            .where(
                tuple_(ReleaseArtifact.organization_id, ReleaseArtifact.name).in_(files),
                ReleaseArtifact.valid_to.is_(None),
            )
            .values(valid_to=number)
            .execution_options(synchronize_session=False)
        )

    async def collect_files(self, settled: int) -> int:
        """Remove files from releases where they were replaced by ``settled`` and no execution has their version.

        :return: How many.
        """
        used = (
            select(WorkflowVersion.organization_id, digest)
            for digest in (WorkflowVersion.plan_digest, WorkflowVersion.dag_digest)
        )
        execution = exists().where(
            WorkflowExecution.organization_id == WorkflowVersion.organization_id,
            WorkflowExecution.version_id == WorkflowVersion.id,
        )
        file = tuple_(ReleaseArtifact.organization_id, ReleaseArtifact.sha256)
        removed = await self._session.scalars(
            delete(ReleaseArtifact)
            .where(
                ReleaseArtifact.valid_to <= settled,
                *(file.not_in(query.where(execution)) for query in used),
                ~_PINNED_EXECUTION,
            )
            .returning(ReleaseArtifact.name)
        )
        return len(removed.all())

    async def collect_artifacts(self) -> int:
        """Remove the bytes of files that no release has; return how many."""
        is_released = exists().where(
            ReleaseArtifact.organization_id == Artifact.organization_id, ReleaseArtifact.sha256 == Artifact.sha256
        )
        unused = [StoredFile(*row) for row in await self._session.execute(select(*_FILE_OF_NONE).where(~is_released))]
        removable = [file for file in unused if await self._remove_object(file)]
        for start in range(0, len(removable), REMOVED_AT_ONCE):
            keys = [(file.organization_id, file.sha256) for file in removable[start : start + REMOVED_AT_ONCE]]
            await self._session.execute(
                delete(Artifact).where(tuple_(Artifact.organization_id, Artifact.sha256).in_(keys))
            )
        return len(removable)

    async def _remove_object(self, file: StoredFile) -> bool:
        """Remove a file that is an object; False where that has to wait for the next time."""
        if file.location is None:
            return True
        try:
            await store_of(self._session).delete(file.organization_id, file.location)
        except ObjectsAwayError:
            return False
        except ObjectLostError:
            return True
        return True

    async def collect_releases(self, settled: int) -> int:
        """Forget the releases before ``settled``; return how many."""
        removed = await self._session.scalars(delete(Release).where(Release.number < settled).returning(Release.number))
        return len(removed.all())


def _is_in(number: int) -> ColumnElement[bool]:
    return (ReleaseArtifact.valid_from <= number) & or_(
        ReleaseArtifact.valid_to.is_(None), ReleaseArtifact.valid_to > number
    )
