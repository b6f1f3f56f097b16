"""The object store over a folder and over S3's protocol: what it promises, and whom it refuses."""

from __future__ import annotations

import hashlib
from pathlib import Path
from uuid import UUID

import pytest

from api.objects.places import ObjectLostError, ObjectsAwayError
from api.objects.settings import ObjectSettings
from api.objects.store import Kept, ObjectStore
from tests.stubs.s3_server import S3Server

pytestmark = pytest.mark.platform

OURS = UUID("01990000-0000-7000-8000-00000000000a")
THEIRS = UUID("01990000-0000-7000-8000-00000000000b")
EXECUTION = UUID("01990000-0000-7000-8000-00000000000c")


def kept_of(store: ObjectStore, data: bytes, organization_id: UUID = OURS) -> Kept:
    sha256 = hashlib.sha256(data).hexdigest()
    return Kept(sha256, len(data), store.output_location(organization_id, EXECUTION, sha256))


async def put(store: ObjectStore, data: bytes, organization_id: UUID = OURS) -> Kept:
    kept = kept_of(store, data, organization_id)
    await store.put(organization_id, kept.location, data)
    return kept


class TestPlaces:
    async def test_kept_and_given_back(self, place: ObjectSettings) -> None:
        store = ObjectStore(place)
        kept = await put(store, b"x" * 3_000_000)
        assert await store.get(OURS, kept) == b"x" * 3_000_000
        # Again, and by another process.
        await put(store, b"x" * 3_000_000)
        assert await ObjectStore(place).get(OURS, kept) == b"x" * 3_000_000

    async def test_gone(self, place: ObjectSettings) -> None:
        store = ObjectStore(place)
        kept = await put(store, b"something")
        await store.delete(OURS, kept.location)
        with pytest.raises(ObjectLostError):
            await store.get(OURS, kept)
        await store.delete(OURS, kept.location)

    @pytest.mark.parametrize("other", [b"Something", b"some", b"something more"])
    async def test_changed(self, other: bytes, place: ObjectSettings) -> None:
        store = ObjectStore(place)
        kept = await put(store, b"something")
        await store.put(OURS, kept.location, other)
        with pytest.raises(ObjectLostError):
            await store.get(OURS, kept)

    async def test_everything_of_one_organisation(self, place: ObjectSettings) -> None:
        store = ObjectStore(place)
        ours = [await put(store, b"%d" % number) for number in range(5)]
        theirs = await put(store, b"theirs", THEIRS)
        artifact = store.artifact_location(OURS, "a" * 64)
        await store.put(OURS, artifact, b"artifact")
        await store.delete_all(OURS)
        for kept in ours:
            with pytest.raises(ObjectLostError):
                await store.get(OURS, kept)
        assert await store.get(THEIRS, theirs) == b"theirs"
        await store.delete_all(OURS)

    async def test_another_organisations(self, place: ObjectSettings) -> None:
        store = ObjectStore(place)
        theirs = await put(store, b"theirs", THEIRS)
        for call in (store.get(OURS, theirs), store.delete(OURS, theirs.location)):
            with pytest.raises(ObjectLostError):
                await call
        assert await store.get(THEIRS, theirs) == b"theirs"

    async def test_a_path_that_leads_elsewhere(self, place: ObjectSettings) -> None:
        store = ObjectStore(place)
        await put(store, b"ours")
        theirs = await put(store, b"theirs", THEIRS)
        base = theirs.location.partition(str(THEIRS))[0]
        for location in (
            f"{base}{OURS}/../{THEIRS}/outputs/{EXECUTION}/{theirs.sha256}",
            f"{base}{OURS}/outputs/../../{THEIRS}/{theirs.sha256}",
            f"{base}{OURS}/",
            f"/{OURS}/artifacts/{'a' * 64}",
            f"file:///{OURS}/artifacts/{'a' * 64}",
        ):
            with pytest.raises(ObjectLostError):
                await store.get(OURS, Kept(theirs.sha256, theirs.size, location))


class TestAway:
    async def test_no_server(self, bucket: str) -> None:
        store = ObjectStore(ObjectSettings(object_bucket=bucket, object_endpoint="http://127.0.0.1:9"))
        kept = kept_of(store, b"something")
        with pytest.raises(ObjectsAwayError):
            await store.get(OURS, kept)
        with pytest.raises(ObjectsAwayError):
            await store.put(OURS, kept.location, b"something")

    async def test_no_bucket(self, s3: S3Server, bucket: str) -> None:
        store = ObjectStore(ObjectSettings(object_bucket=f"{bucket}-none", object_endpoint=s3.url))
        with pytest.raises(ObjectsAwayError):
            await put(store, b"something")
        with pytest.raises(ObjectsAwayError):
            await store.get(OURS, kept_of(store, b"something"))

    async def test_a_folder_that_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        store = ObjectStore(ObjectSettings(object_folder=tmp_path / "file"))
        with pytest.raises(ObjectsAwayError):
            await put(store, b"something")

    async def test_objects_of_former_settings(self, s3: S3Server, bucket: str, tmp_path: Path) -> None:
        folder = ObjectSettings(object_folder=tmp_path)
        first = await put(ObjectStore(folder), b"first")
        both = ObjectSettings(object_folder=tmp_path, object_bucket=bucket, object_endpoint=s3.url)
        second = await put(ObjectStore(both), b"second")
        assert second.location.startswith("s3://")
        assert await ObjectStore(both).get(OURS, first) == b"first"
        back = ObjectStore(ObjectSettings(object_folder=tmp_path, object_endpoint=s3.url))
        assert [await back.get(OURS, kept) for kept in (first, second)] == [b"first", b"second"]
        with pytest.raises(ObjectsAwayError):
            await ObjectStore(ObjectSettings(object_bucket=bucket, object_endpoint=s3.url)).get(OURS, first)


@pytest.mark.parametrize("bucket", ["", "A", "../x", "a/b c", "bucket/", "bucket/../other", "/bucket"])
def test_buckets_that_are_none(bucket: str) -> None:
    with pytest.raises(ValueError, match="bucket"):
        ObjectSettings(object_bucket=bucket)


def test_a_folder_must_be_absolute() -> None:
    with pytest.raises(ValueError, match="absolute"):
        ObjectSettings(object_folder=Path("objects"))
