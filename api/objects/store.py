"""The object store as the rest of the control plane uses it: each call names the organisation, and what is read is
checked.

A row says where its object lies, so objects of former settings are found where they were put.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api.objects.places import FolderPlace, ObjectLostError, ObjectsAwayError, Place, S3Place, checked_key
from api.objects.settings import ObjectSettings

T = TypeVar("T")

FOLDER = "folder:"
S3 = "s3://"
AT_ONCE = 8
"""Calls of the store at a time."""
LARGE_AT_ONCE = 4
"""Large outputs that are in the memory of this process at a time."""
_IN_SESSION = "objects"


@dataclass(frozen=True)
class Kept:
    """An object as its row describes it.

    :param size: In bytes.
    :param location: ``folder:<key>`` or ``s3://<bucket>/<prefix><key>``.
    """

    sha256: str
    size: int
    location: str


class ObjectStore:
    """Objects of every organisation.

    :param settings: Where new ones go.
    """

    def __init__(self, settings: ObjectSettings) -> None:
        self._settings = settings
        self._buckets: dict[tuple[str, str], S3Place] = {}
        self._calls = asyncio.Semaphore(AT_ONCE)
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)

    @property
    def takes_objects(self) -> bool:
        """Whether there is a place for new ones."""
        return self._settings.object_bucket is not None or self._settings.object_folder is not None

    @property
    def takes_artifacts(self) -> bool:
        """Whether plans and DAG files go here."""
        return self.takes_objects and self._settings.artifact_store == "objects"

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until a large output may be in memory."""
        async with self._large:
            yield

    def output_location(self, organization_id: UUID, execution_id: UUID, sha256: str) -> str:
        """Return where a new output of an execution goes."""
        return self._location(f"{organization_id}/outputs/{execution_id}/{sha256}")

    def artifact_location(self, organization_id: UUID, sha256: str) -> str:
        """Return where a new plan or DAG file goes."""
        return self._location(f"{organization_id}/artifacts/{sha256}")

    def _location(self, key: str) -> str:
        if self._settings.object_bucket is not None:
            return f"{S3}{self._settings.object_bucket}/{key}"
        return FOLDER + key

    async def put(self, organization_id: UUID, location: str, data: bytes) -> None:
        """Write an object.

        :raises ObjectsAwayError: It cannot be written now.
        """
        place, key = self._found(organization_id, location)
        await self._in_thread(lambda: place.put(key, data))

    async def get(self, organization_id: UUID, kept: Kept) -> bytes:
        """Return an object, checked.

        :raises ObjectLostError: It is gone, or was changed.
        :raises ObjectsAwayError: It cannot be read now.
        """
        place, key = self._found(organization_id, kept.location)

        def read() -> bytes:
            data = place.get(key, kept.size)
            if hashlib.sha256(data).hexdigest() != kept.sha256:
                raise ObjectLostError("the object is not what was put there")
            return data

        return await self._in_thread(read)

    async def delete(self, organization_id: UUID, location: str) -> None:
        """Remove an object; harmless where it is gone.

        :raises ObjectsAwayError: It cannot be removed now.
        """
        place, key = self._found(organization_id, location)
        await self._in_thread(lambda: place.delete(key))

    async def delete_all(self, organization_id: UUID) -> None:
        """Remove all objects of an organisation from the places that are set, also such as no row speaks of.

        :raises ObjectsAwayError: A place does not answer.
        """
        bucket = self._settings.object_bucket
        places: list[Place] = [] if bucket is None else [self._bucket(*_split(f"{bucket}/"))]
        if self._settings.object_folder is not None:
            places.append(FolderPlace(self._settings.object_folder))
        for place in places:
            await self._in_thread(lambda place=place: place.delete_all(f"{organization_id}/"))  # type: ignore[misc]

    def _found(self, organization_id: UUID, location: str) -> tuple[Place, str]:
        """Return the place and the key of a location, if it is the organisation's.

        :raises ObjectLostError: It is not.
        :raises ObjectsAwayError: The settings do not lead there any more.
        """
        at = location.find(f"{organization_id}/")
        if at < 0:
            raise ObjectLostError("an object must lie in its organisation's part")
        base, key = location[:at], checked_key(location[at:])
        if base == FOLDER:
            if self._settings.object_folder is None:
                raise ObjectsAwayError("AGENT_FACTORY_OBJECT_FOLDER must name the folder of objects that lie in one")
            return FolderPlace(self._settings.object_folder), key
        if not base.startswith(S3):
            raise ObjectLostError("an object must lie in a folder or a bucket")
        return self._bucket(*_split(base.removeprefix(S3))), key

    def _bucket(self, name: str, prefix: str) -> S3Place:
        known = self._buckets.get((name, prefix))
        if known is None:
            settings = self._settings
            known = S3Place(name, prefix, endpoint=settings.object_endpoint, region=settings.object_region)
            self._buckets[name, prefix] = known
        return known

    async def _in_thread(self, call: Callable[[], T]) -> T:
        async with self._calls:
            return await asyncio.to_thread(call)


def _split(base: str) -> tuple[str, str]:
    """Return bucket and prefix of ``bucket/prefix/``."""
    bucket, _, prefix = base.partition("/")
    return bucket, prefix


def session_info(store: ObjectStore) -> dict[str, ObjectStore]:
    """Return what sessions carry, so that who has one reaches the store."""
    return {_IN_SESSION: store}


def store_of(session: AsyncSession) -> ObjectStore:
    """Return the object store of a session's database."""
    store = session.info[_IN_SESSION]
    assert isinstance(store, ObjectStore)
    return store
