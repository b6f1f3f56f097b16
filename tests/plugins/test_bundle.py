"""The bundle: releases pulled from a control plane, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from plugins.bundle import SENTINEL_NAME, AgentFactoryBundle, BundleError, Release

pytestmark = pytest.mark.unit

NAME = "acme__greet.py"


class Releases:
    """A stub of the runtime API's release calls on a loopback port."""

    def __init__(self) -> None:
        self.paths: dict[str, bytes] = {}
        self.asked: list[str] = []
        releases = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                releases.asked.append(self.path)
                known = self.headers["authorization"] == "Bearer token"
                body = releases.paths.get(self.path.removeprefix("/runtime/v1/")) if known else None
                self.send_response(404 if body is None else 200)
                self.send_header("content-length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_: object) -> None:
                """Stay silent."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def publish(self, number: int, files: dict[str, bytes]) -> None:
        """Make a release the newest."""
        artifacts = []
        for name, content in files.items():
            digest = hashlib.sha256(content).hexdigest()
            self.paths[f"artifacts/{digest}"] = content
            artifacts.append({"name": name, "sha256": digest, "size": len(content)})
        self.paths["release"] = json.dumps({"release": str(number), "artifacts": artifacts}).encode()
        self.paths[f"releases/{number}"] = self.paths["release"]


@pytest.fixture
def releases(monkeypatch: pytest.MonkeyPatch) -> Iterator[Releases]:
    stub = Releases()
    threading.Thread(target=stub.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    monkeypatch.setenv("AGENT_FACTORY_API_URL", f"http://127.0.0.1:{stub.server.server_address[1]}")
    monkeypatch.setenv("AGENT_FACTORY_RUNTIME_TOKEN", "token")
    yield stub
    stub.server.shutdown()
    stub.server.server_close()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("airflow.dag_processing.bundles.base.get_bundle_storage_root_path", lambda: tmp_path)
    return tmp_path


def bundle(version: str | None = None) -> AgentFactoryBundle:
    return AgentFactoryBundle(name="agent_factory", refresh_interval=30, version=version)


def loaded(version: str | None = None) -> AgentFactoryBundle:
    made = bundle(version)
    made.initialize()
    return made


class TestRefresh:
    def test_files_of_the_newest_release(self, releases: Releases, folder: Path) -> None:
        releases.publish(1, {NAME: b"first"})
        made = loaded()
        assert (made.path / NAME).read_bytes() == b"first"
        assert (made.path / SENTINEL_NAME).exists()
        releases.publish(2, {NAME: b"second"})
        made.refresh()
        version = made.get_current_version()
        assert version is not None
        assert version.version == "2"
        assert (made.path / NAME).read_bytes() == b"second"

    def test_unchanged_file_is_not_downloaded_again(self, releases: Releases, folder: Path) -> None:
        releases.publish(1, {NAME: b"first"})
        made = loaded()
        releases.publish(2, {NAME: b"first", "acme__other.py": b"other"})
        releases.asked.clear()
        made.refresh()
        assert len([path for path in releases.asked if "artifacts" in path]) == 1

    def test_changed_file_looks_newer_than_a_parse_that_ends_now(self, releases: Releases, folder: Path) -> None:
        releases.publish(1, {NAME: b"first"})
        made = loaded()
        for number, content in ((2, b"second"), (3, b"first")):
            releases.publish(number, {NAME: content})
            made.refresh()
            assert (made.path / NAME).stat().st_mtime > time.time()

    def test_removed_workflow(self, releases: Releases, folder: Path) -> None:
        releases.publish(1, {NAME: b"first"})
        made = loaded()
        releases.publish(2, {})
        made.refresh()
        assert not (made.path / NAME).exists()


class TestVersion:
    def test_a_run_in_flight_keeps_its_release(self, releases: Releases, folder: Path) -> None:
        releases.publish(1, {NAME: b"first"})
        releases.publish(2, {NAME: b"second"})
        assert (loaded("1").path / NAME).read_bytes() == b"first"

    def test_on_disk_needs_no_control_plane(self, releases: Releases, folder: Path) -> None:
        releases.publish(1, {NAME: b"first"})
        loaded("1")
        releases.paths.clear()
        assert (loaded("1").path / NAME).read_bytes() == b"first"


class TestTrouble:
    def test_wrong_digest(self, releases: Releases, folder: Path) -> None:
        releases.publish(1, {NAME: b"first"})
        digest = hashlib.sha256(b"first").hexdigest()
        releases.paths[f"artifacts/{digest}"] = b"forged"
        with pytest.raises(BundleError, match="must have the digest"):
            loaded()
        assert not bundle("1").path.exists()

    def test_wrong_token(self, releases: Releases, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        releases.publish(1, {})
        monkeypatch.setenv("AGENT_FACTORY_RUNTIME_TOKEN", "other")
        with pytest.raises(BundleError, match="did not give release"):
            loaded()

    @pytest.mark.parametrize(
        "body",
        [
            [],
            {"release": "1"},
            {"release": "../1", "artifacts": []},
            {"release": "1", "artifacts": [{"name": "../../etc/passwd", "sha256": "0" * 64}]},
            {"release": "1", "artifacts": [{"name": NAME, "sha256": "../x"}]},
            {"release": "1", "artifacts": [None]},
        ],
    )
    def test_unusable_release(self, body: Any) -> None:
        with pytest.raises(BundleError):
            Release.from_json(body)
