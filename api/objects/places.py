"""Where objects lie: a folder, or a bucket of S3. Blocking calls, for threads."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any, Protocol

_KEY = re.compile(r"[0-9a-f-]{36}/(outputs/[0-9a-f-]{36}|artifacts)/[0-9a-f]{64}")
TIMEOUTS = {"connect_timeout": 5, "read_timeout": 30}
TRIES = 3
LISTED = 1000
"""Keys that S3 removes in one call."""
GONE = frozenset({"404", "NoSuchKey", "NotFound"})


class ObjectLostError(Exception):
    """An object is gone, or is not what was put there. Trying again never helps."""


class ObjectsAwayError(Exception):
    """The place does not answer, or lets us not in. Trying again may help."""


class Place(Protocol):
    """Keeps objects by key."""

    def put(self, key: str, data: bytes) -> None:
        """Write an object, in whole or not at all; one of this key is replaced."""
        ...

    def get(self, key: str, size: int) -> bytes:
        """Return an object; of one that is longer than it should be, a byte more than that."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object; harmless where there is none."""
        ...

    def delete_all(self, prefix: str) -> None:
        """Remove every object whose key begins so; the prefix ends with a slash."""
        ...


def checked_key(key: str) -> str:
    """Return a key if it is one of ours: no other leads out of an organisation's part of a place.

    :raises ObjectLostError: It is something else.
    """
    if not _KEY.fullmatch(key):
        raise ObjectLostError("an object's key must be an organisation's")
    return key


class FolderPlace:
    """A folder: for one machine, or one that is shared."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, key: str, data: bytes) -> None:
        """Write a file beside its place and move it there; see :class:`Place`."""
        path = self._root / key
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
                try:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                    os.rename(file.name, path)
                except BaseException:
                    os.unlink(file.name)
                    raise
        except OSError as error:
            raise ObjectsAwayError(f"the folder of objects cannot be written to: {error.strerror}") from None

    def get(self, key: str, size: int) -> bytes:
        """Read a file; see :class:`Place`."""
        try:
            with open(self._root / key, "rb") as file:
                return file.read(size + 1)
        except FileNotFoundError:
            raise ObjectLostError("the object is gone") from None
        except OSError as error:
            raise ObjectsAwayError(f"the folder of objects cannot be read: {error.strerror}") from None

    def delete(self, key: str) -> None:
        """Remove a file, and its folder where that is empty then; see :class:`Place`."""
        path = self._root / key
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise ObjectsAwayError(f"the folder of objects cannot be written to: {error.strerror}") from None
        with contextlib.suppress(OSError):
            path.parent.rmdir()

    def delete_all(self, prefix: str) -> None:
        """Remove a folder with all that is in it; see :class:`Place`."""
        try:
            shutil.rmtree(self._root / prefix)
        except FileNotFoundError:
            return
        except OSError as error:
            raise ObjectsAwayError(f"the folder of objects cannot be written to: {error.strerror}") from None


class S3Place:
    """A bucket, by the client library that Airflow's Amazon provider brings. Keys to it come from the environment, as
    AWS has it: variables, a profile, or the machine's role.

    :param prefix: Before every key; with a slash at its end, or empty.
    """

    def __init__(self, bucket: str, prefix: str, *, endpoint: str | None, region: str | None) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._endpoint = endpoint
        self._region = region
        self._opening = threading.Lock()
        self._client: Any = None

    def put(self, key: str, data: bytes) -> None:
        """Upload an object; see :class:`Place`."""
        self._call("put_object", Key=self._prefix + key, Body=data)

    def get(self, key: str, size: int) -> bytes:
        """Download an object; see :class:`Place`."""
        from botocore.exceptions import BotoCoreError, HTTPClientError

        body = self._call("get_object", Key=self._prefix + key)["Body"]
        try:
            data: bytes = body.read(size + 1)
        except (BotoCoreError, HTTPClientError, OSError) as error:
            raise ObjectsAwayError(f"the object store broke off: {type(error).__name__}") from None
        finally:
            body.close()
        return data

    def delete(self, key: str) -> None:
        """Remove an object; see :class:`Place`."""
        self._call("delete_object", Key=self._prefix + key)

    def delete_all(self, prefix: str) -> None:
        """Remove the objects below a prefix, a list at a time; see :class:`Place`."""
        while True:
            listed = self._call("list_objects_v2", Prefix=self._prefix + prefix, MaxKeys=LISTED)
            keys = [{"Key": each["Key"]} for each in listed.get("Contents", ())]
            if not keys:
                return
            answer = self._call("delete_objects", Delete={"Objects": keys, "Quiet": True})
            if answer.get("Errors"):
                raise ObjectsAwayError("the object store did not remove every object")

    def _call(self, method: str, **arguments: Any) -> Any:
        """Make a call of the client.

        :raises ObjectLostError: There is no such object.
        :raises ObjectsAwayError: Whatever else is in the way.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return getattr(self._opened(), method)(Bucket=self._bucket, **arguments)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in GONE:
                raise ObjectLostError("the object is gone") from None
            raise ObjectsAwayError(f"the object store refused a call: {code}") from None
        except (BotoCoreError, OSError) as error:
            raise ObjectsAwayError(f"the object store did not answer: {type(error).__name__}") from None

    def _opened(self) -> Any:
        with self._opening:
            if self._client is None:
                import boto3
                from botocore.config import Config

                # A session of its own: the library's default one is not for threads.
                self._client = boto3.session.Session().client(
                    "s3",
                    endpoint_url=self._endpoint,
                    region_name=self._region,
                    config=Config(retries={"mode": "standard", "max_attempts": TRIES}, **TIMEOUTS),
                )
            return self._client
