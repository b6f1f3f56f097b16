"""A stub of the runtime API's release calls, for the bundle."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Releases:
    """Releases on a loopback port.

    ``asked`` are the calls so far. ``status`` makes every call fail; ``spoilt`` maps digests to the bytes that are
    given instead; ``lost`` are the digests of files that the object store has lost.
    """

    def __init__(self) -> None:
        self.files: dict[int, dict[str, str]] = {0: {}}
        self.contents: dict[str, bytes] = {}
        self.spoilt: dict[str, bytes] = {}
        self.lost: set[str] = set()
        self.asked: list[str] = []
        self.status = 200
        releases = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(b"")

            def do_POST(self) -> None:
                self._answer(self.rfile.read(int(self.headers["content-length"])))

            def _answer(self, sent: bytes) -> None:
                releases.asked.append(self.path)
                body = releases.answer(self.path.removeprefix("/runtime/v1/"), sent)
                known = self.headers["authorization"] == "Bearer token" and body is not None
                self.send_response(releases.status if known else 404)
                self.send_header("content-length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_: object) -> None:
                """Stay silent."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        """Base URL of the stub."""
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def publish(self, number: int, files: dict[str, bytes]) -> None:
        """Make a release the newest."""
        self.files[number] = {}
        for name, content in files.items():
            digest = hashlib.sha256(content).hexdigest()
            self.contents[digest] = content
            self.files[number][name] = digest

    def answer(self, path: str, sent: bytes) -> bytes | None:
        """Return the answer to a call; None for 404."""
        if path == "artifacts":
            asked = json.loads(sent)["sha256"]
            contents = [self.spoilt.get(digest, self.contents[digest]) for digest in asked]
            frames = [len(content).to_bytes(4, "big") + content for content in contents]
            return b"".join(
                b"\xff" * 4 if digest in self.lost else frame for digest, frame in zip(asked, frames, strict=True)
            )
        url = urlsplit(path)
        number = max(self.files) if url.path == "release" else int(url.path.removeprefix("releases/"))
        since = parse_qs(url.query).get("since", [""])[0]
        return self._release(number, int(since) if since else None) if number in self.files else None

    def _release(self, number: int, since: int | None) -> bytes:
        files, before = self.files[number], self.files.get(since or 0, {})
        known = since is not None and since in self.files
        entries = [
            {"name": name, "sha256": digest, "size": 0}
            for name, digest in files.items()
            if not known or before.get(name) != digest
        ]
        removed = sorted(before.keys() - files.keys()) if known else []
        body = {"release": str(number), "since": str(since) if known else None, "artifacts": entries}
        return json.dumps({**body, "removed": removed}).encode()


@contextmanager
def serving() -> Iterator[Releases]:
    """A stub that answers."""
    stub = Releases()
    threading.Thread(target=stub.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield stub
    finally:
        stub.server.shutdown()
        stub.server.server_close()
