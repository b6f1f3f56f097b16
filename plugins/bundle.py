"""The DAG bundle: published artifacts, pulled from the control plane, one folder a release.

``store/<sha256>`` holds each file once; ``versions/<release>/`` links to them by name. A run in flight keeps the
release it began with; any release can be built again from the control plane.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import orjson
from airflow.dag_processing.bundles.base import BaseDagBundle, BundleVersion

# Airflow forks a process a parsed file: what is imported here need not be imported there.
import operators.tasks.segment  # noqa: F401
from operators.settings import runtime_settings

log = logging.getLogger(__name__)

SENTINEL_NAME = "agent_factory__release.py"
SENTINEL_DAG = '''"""Always there: through it a publish asks Airflow for a new release."""
from airflow.sdk import DAG

with DAG(dag_id="agent_factory__release", schedule=None, catchup=False, tags=["agent-factory"]):
    pass
'''

PARSE_SECONDS = 2.0
"""Longer than the parse of one file takes; for so long a changed file is parsed at each look."""

_ARTIFACT_NAME = re.compile(r"[a-z][a-z0-9-]{0,38}__[a-z][a-z0-9_]{0,62}\.(py|plan\.json)")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_RELEASE = re.compile(r"[0-9]{1,18}")


class BundleError(Exception):
    """The control plane's answer cannot be used, or it cannot be reached. A later refresh may succeed."""


@dataclass(frozen=True)
class Artifact:
    """One file of a release."""

    name: str
    sha256: str


@dataclass(frozen=True)
class Release:
    """A release: its number as text, and its files."""

    number: str
    artifacts: tuple[Artifact, ...]

    @classmethod
    def from_json(cls, body: Any) -> Release:
        """Read the control plane's answer.

        :raises BundleError: It is of another shape, or names a file that could leave the release's folder.
        """
        try:
            number, entries = str(body["release"]), body["artifacts"]
            artifacts = tuple(Artifact(str(entry["name"]), str(entry["sha256"])) for entry in entries)
        except (KeyError, TypeError) as error:
            raise BundleError(f"a release must be {{release, artifacts}}; got {type(body).__name__}") from error
        if not _RELEASE.fullmatch(number):
            raise BundleError(f"a release must be a number; got {number!r}")
        for artifact in artifacts:
            if not _ARTIFACT_NAME.fullmatch(artifact.name) or not _DIGEST.fullmatch(artifact.sha256):
                raise BundleError(f"a release must hold compiled workflows by digest; got {artifact.name!r}")
        return cls(number, artifacts)


class AgentFactoryBundle(BaseDagBundle):
    """Airflow's view of what is published: one version a release.

    What it does not do: collect old releases (Airflow removes version folders that no run uses), or load when the
    control plane is away and nothing was pulled before.
    """

    supports_versioning: bool = True
    timeout_seconds: ClassVar[float] = 30.0

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._store = self.base_dir / "store"
        self._release: str | None = self.version

    @property
    def path(self) -> Path:
        """The folder of this bundle's release."""
        return self.versions_dir / (self._release or "none")

    def initialize(self) -> None:
        """Have the files on disk: those of the asked version, else of the newest release."""
        if self.version:
            if not self.path.exists():
                self._build(self._fetch_release(f"releases/{self.version}"))
        else:
            self.refresh()
        super().initialize()

    def get_current_version(self) -> BundleVersion | None:
        """Return the release's number."""
        return BundleVersion(version=self._release) if self._release else None

    def refresh(self) -> None:
        """Pull the newest release."""
        if self.version:
            return
        release = self._fetch_release("release")
        if release.number != self._release or not self.path.exists():
            self._build(release)
            self._release = release.number

    def _build(self, release: Release) -> None:
        """Make the release's folder, whole or not at all."""
        target = self.versions_dir / release.number
        with self.lock():
            if target.exists():
                return
            self._store.mkdir(parents=True, exist_ok=True)
            self.versions_dir.mkdir(parents=True, exist_ok=True)
            building = Path(tempfile.mkdtemp(prefix=".building-", dir=self.versions_dir))
            try:
                building.chmod(0o755)
                for artifact in release.artifacts:
                    self._link(artifact, building)
                (building / SENTINEL_NAME).write_text(SENTINEL_DAG)
                os.replace(building, target)
            except BaseException:
                shutil.rmtree(building, ignore_errors=True)
                raise
        log.info("bundle %s: release %s has %d files", self.name, release.number, len(release.artifacts))

    def _link(self, artifact: Artifact, folder: Path) -> None:
        stored = self._store / artifact.sha256
        if not stored.exists():
            self._download(artifact, stored)
        if self._release and not self.version and not _same_file(self.path / artifact.name, stored):
            # Airflow parses a known file again only if its time is later than the end of the last parse. A roll-back
            # must look new, and a file must look newer than the end of a parse of its older version that runs now.
            later = time.time() + PARSE_SECONDS
            os.utime(stored, (later, later))
        os.link(stored, folder / artifact.name)

    def _download(self, artifact: Artifact, stored: Path) -> None:
        content = self._get(f"artifacts/{artifact.sha256}")
        digest = hashlib.sha256(content).hexdigest()
        if digest != artifact.sha256:
            raise BundleError(f"{artifact.name} must have the digest {artifact.sha256}; got {digest}")
        partial = stored.with_suffix(".partial")
        partial.write_bytes(content)
        partial.replace(stored)

    def _fetch_release(self, path: str) -> Release:
        try:
            return Release.from_json(orjson.loads(self._get(path)))
        except orjson.JSONDecodeError as error:
            raise BundleError(f"{path} must answer JSON; got something else") from error

    def _get(self, path: str) -> bytes:
        import httpx

        settings = runtime_settings()
        try:
            response = httpx.get(
                f"{settings.api_url}/runtime/v1/{path}",
                headers={"Authorization": f"Bearer {settings.token}"},
                timeout=self.timeout_seconds,
                trust_env=False,
            )
            response.raise_for_status()
        except httpx.HTTPError as error:
            raise BundleError(f"the control plane did not give {path}: {type(error).__name__}") from None
        return response.content


def _same_file(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return False
