"""The bytes of plans and DAG files, which are in their rows or objects."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api.objects.places import ObjectLostError, ObjectsAwayError
from api.objects.service import away
from api.objects.store import Kept, store_of
from api.problems import Problem


class ArtifactLostProblem(Problem):
    """A workflow's published file cannot be had any more. Publishing it again helps."""

    def __init__(self) -> None:
        detail = (
            "The published files of this workflow must be in the object store; one is gone or was changed. "
            "Publish the workflow again."
        )
        super().__init__(503, "artifact_lost", detail)


@dataclass(frozen=True)
class StoredFile:
    """A plan or a DAG file as its row has it: either its content, or where it lies."""

    organization_id: UUID
    sha256: str
    size: int
    content: bytes | None
    location: str | None

    async def load(self, session: AsyncSession) -> bytes:
        """Return the bytes.

        :raises ArtifactLostProblem: They are gone or were changed.
        :raises Problem: 503: the object store does not answer.
        """
        if self.location is None:
            assert self.content is not None, "a file is either in its row or an object"
            return self.content
        try:
            return await store_of(session).get(self.organization_id, Kept(self.sha256, self.size, self.location))
        except ObjectLostError:
            raise ArtifactLostProblem from None
        except ObjectsAwayError as error:
            raise away(error) from None


async def put_file(session: AsyncSession, organization_id: UUID, sha256: str, content: bytes) -> str:
    """Write a file as an object and return where it lies.

    :raises Problem: 503: the object store does not answer.
    """
    store = store_of(session)
    location = store.artifact_location(organization_id, sha256)
    try:
        await store.put(organization_id, location, content)
    except ObjectsAwayError as error:
        raise away(error) from None
    return location
