"""What the tests of objects share: S3's protocol, and control planes that keep objects in it or in a folder."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.objects.settings import ObjectSettings
from tests.stubs.s3_server import KEYS, NoServerError, S3Server, s3_server

_numbers = itertools.count()


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """A server of the session."""
    try:
        with s3_server() as server:
            yield server
    except NoServerError as error:
        pytest.skip(str(error))


@pytest.fixture
def bucket(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket of the test's own; the process has the keys to it, as AWS has it."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{next(_numbers)}"
    s3.client().create_bucket(Bucket=name)
    return name


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectSettings:
    """Settings of an object store, of each kind."""
    if request.param == "folder":
        return ObjectSettings(object_folder=tmp_path / "objects")
    server: S3Server = request.getfixturevalue("s3")
    return ObjectSettings(
        object_bucket=f"{request.getfixturevalue('bucket')}/some/prefix",
        object_endpoint=server.url,
        object_region=KEYS["AWS_DEFAULT_REGION"],
    )
