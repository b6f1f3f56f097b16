"""Asks the control plane for releases and their files."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

import orjson

from operators.settings import runtime_settings
from plugins.bundle.manifest import BundleError, Release

if TYPE_CHECKING:
    import httpx

CONNECT_SECONDS = 3.0
READ_SECONDS = 30.0
FIRST_PAUSE_SECONDS = 0.5
FILES_A_CALL = 200
LOST = b"\xff\xff\xff\xff"


class ControlPlane:
    """The calls of door 1, over one connection.

    :param patience_seconds: For how long a call is tried again while the control plane is away. The DAG processor must
        not wait (its loop would stand still); a task that starts has nothing better to do.
    """

    def __init__(self, patience_seconds: float = 0.0) -> None:
        import httpx

        settings = runtime_settings()
        self._deadline = time.monotonic() + patience_seconds
        self._client = httpx.Client(
            base_url=f"{settings.api_url}/runtime/v1/",
            headers={"Authorization": f"Bearer {settings.token}"},
            timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
            trust_env=False,
            # Reading the certificates takes longer than the call.
            verify=settings.api_url.startswith("https:"),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def release(self, number: str | None, since: str | None) -> Release:
        """Return a release, the newest one for None, as the difference from one that is here already.

        :raises BundleError: The control plane is away, has no such release, or answers something else.
        """
        path = "release" if number is None else f"releases/{number}"
        response = self._call("GET", path, params={"since": since} if since else {})
        try:
            return Release.from_json(orjson.loads(response.content))
        except orjson.JSONDecodeError as error:
            raise BundleError(f"{path} must answer JSON; got something else") from error

    def files(self, digests: Sequence[str]) -> Iterator[tuple[str, bytes | None]]:
        """Give the bytes of files by their digests, checked; None for one that the control plane has lost.

        :raises BundleError: The control plane is away, lacks one, or gives other bytes.
        """
        for start in range(0, len(digests), FILES_A_CALL):
            asked = digests[start : start + FILES_A_CALL]
            body = self._call("POST", "artifacts", json={"sha256": asked}).content
            yield from zip(asked, _frames(body, asked), strict=True)

    def _call(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        import httpx

        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                response = self._client.request(method, path, **arguments)
                if response.status_code < 500 or time.monotonic() + pause > self._deadline:
                    response.raise_for_status()
                    return response
            except httpx.HTTPStatusError as error:
                raise BundleError(f"the control plane did not give {path}: {error.response.status_code}") from None
            except httpx.HTTPError as error:
                if time.monotonic() + pause > self._deadline:
                    raise BundleError(f"the control plane did not give {path}: {type(error).__name__}") from None
            time.sleep(pause)
            pause = min(2 * pause, 5.0)


def _frames(body: bytes, digests: Sequence[str]) -> Iterator[bytes | None]:
    """Split an answer into its files: each has its length before it, as 4 bytes; of a lost one they say so."""
    at = 0
    for digest in digests:
        if body[at : at + 4] == LOST:
            at += 4
            yield None
            continue
        size = int.from_bytes(body[at : at + 4], "big")
        content = body[at + 4 : at + 4 + size]
        at += 4 + size
        found = hashlib.sha256(content).hexdigest()
        if found != digest:
            raise BundleError(f"a file must have the digest {digest}; got {found}")
        yield content
