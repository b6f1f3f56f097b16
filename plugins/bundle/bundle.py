"""The bundle as Airflow's processes use it."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import sys
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from airflow.dag_processing.bundles.base import BaseDagBundle, BundleVersion, get_bundle_tracking_file

# Airflow forks a process for each file it parses: what is imported here need not be imported there.
import operators.tasks.approval
import operators.tasks.code
import operators.tasks.map
import operators.tasks.segment
import operators.tasks.timetable
import operators.tasks.wait
import operators.tasks.workflow  # noqa: F401
from operators.settings import SettingsError
from plugins.bundle.control_plane import ControlPlane
from plugins.bundle.manifest import BundleError
from plugins.bundle.storage import Storage

log = logging.getLogger(__name__)

SENTINEL_NAME = "agent_factory__release.py"
SENTINEL_DAG = b'''"""Always there: through it a publish asks Airflow for a new release."""
from airflow.sdk import DAG

with DAG(dag_id="agent_factory__release", schedule=None, catchup=False, tags=["agent-factory"]) as dag:
    pass
'''
SENTINEL_DIGEST = hashlib.sha256(SENTINEL_DAG).hexdigest()

LOST_DAG = b'''"""Stands for a DAG file that is lost. What airflow shows of it is this dag's import error."""
raise RuntimeError(
    "The published files of this workflow must be in the control plane's object store; one is gone or was changed. "
    "Publish the workflow again."
)
'''
LOST_DIGEST = hashlib.sha256(LOST_DAG).hexdigest()

PATIENCE_SECONDS = 20.0
"""For how long a task that starts waits for a control plane that is away."""
LONGEST_PAUSE_SECONDS = 30
"""The longest time between two attempts of the DAG processor to reach a control plane that is away."""
MISSED_SECONDS = 3.0
"""Who asks again after so long without news waits for a file whose parse got lost."""
REMEMBERED_SECONDS = 120.0
UNUSED_SECONDS = 6 * 3600.0
"""A release on disk that nobody used for so long is removed: it can be built again from the control plane."""
COLLECT_EVERY_SECONDS = 3600.0


class AgentFactoryBundle(BaseDagBundle):
    """Airflow's view of what is published: one version a release.

    Without a version it is what the DAG processor reads, ``current``, and follows the newest release. With one it is
    what a task reads, a folder that never changes. :mod:`plugins.bundle.storage` describes both.

    What it does not do: load when the control plane is away and nothing was pulled before; an empty folder would make
    Airflow take every DAG for deleted.
    """

    supports_versioning: bool = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._storage = Storage(self.base_dir)
        self._release: str | None = self.version
        self._usual_interval = self.refresh_interval
        self._failures = 0
        self._looked_at = self._collected_at = time.monotonic()
        self._changed_at: dict[str, float] = {}
        """Shard -> when its file was last replaced."""

    @property
    def path(self) -> Path:
        """The folder that Airflow reads."""
        return self._storage.version(self.version) if self.version else self._storage.current

    def get_current_version(self) -> BundleVersion | None:
        """Return the release's number."""
        return BundleVersion(version=self._release) if self._release else None

    def initialize(self) -> None:
        """Have the files on disk: those of the asked version, else of the newest release.

        :raises BundleError: The control plane is away, and they are not here.
        """
        self._storage.prepare()
        if self.version:
            while not self._storage.use(self.version):
                self._pull(self.version, PATIENCE_SECONDS)
        else:
            _import_what_parsing_needs()
            self._check_disk()
            self.refresh()
        super().initialize()

    def refresh(self) -> None:
        """Follow the newest release; stay with the one that is loaded where that cannot be had.

        :raises BundleError: The control plane is away, and nothing is loaded.
        """
        if self.version:
            return
        before, asked_again = self._release, time.monotonic() - self._looked_at > MISSED_SECONDS and self._is_early()
        self._looked_at = time.monotonic()
        try:
            with self._storage.following():
                is_switched = self._switch(self._pull(None))
        except (BundleError, SettingsError, OSError) as error:
            self._postpone(error)
            return
        self._failures = 0
        # Airflow comes back when the interval is over: at once where a parse was in the way.
        self.refresh_interval = self._usual_interval if is_switched else 0
        if asked_again and is_switched and self._release == before:
            self._parse_again()
        self._collect()

    # The newest release

    def _pull(self, number: str | None, patience_seconds: float = 0.0) -> str:
        """Have a release on disk, the newest one for None; return its number."""
        base = self._storage.newest(up_to=number)
        if base and not self._storage.use(base):
            base = None
        with ControlPlane(patience_seconds) as control_plane:
            release = control_plane.release(number, base)
            if self._storage.has(release.number):
                return release.number
            known = self._storage.files_of(base) if base else {}
            if LOST_DIGEST in known.values():
                # What was lost may be back: asked for in whole.
                release, known = control_plane.release(release.number, None), {}
            files = release.applied_to(known)
            files[SENTINEL_NAME] = SENTINEL_DIGEST
            while not self._build(release.number, files):
                files = without_lost(files, self._download(control_plane, files))
        return release.number

    def _build(self, number: str, files: Mapping[str, str]) -> bool:
        """Make a release's folder; False if files are missing."""
        with self.lock():
            if self._storage.missing(files.values()):
                return False
            if not self._storage.has(number):
                self._storage.build(number, files)
        log.info("bundle %s: release %s has %d files", self.name, number, len(files))
        return True

    def _download(self, control_plane: ControlPlane, files: Mapping[str, str]) -> set[str]:
        """Store the files that are missing; without the lock, for it may take minutes.

        :return: The digests of the lost ones.
        """
        self._storage.keep(SENTINEL_DIGEST, SENTINEL_DAG)
        self._storage.keep(LOST_DIGEST, LOST_DAG)
        lost = set()
        for digest, content in control_plane.files(self._storage.missing(files.values())):
            if content is None:
                log.error("bundle %s: the control plane has lost file %s", self.name, digest)
                lost.add(digest)
            else:
                self._storage.keep(digest, content)
        return lost

    def _switch(self, newest: str) -> bool:
        """Let the DAG processor see a release; False where it must come back for that.

        Airflow books a parse under the release that is current when it *ends*. A file that is being parsed must
        therefore not be replaced: its old graph would count as the new release's, and runs would mix the two.
        """
        if newest == self._release:
            return True
        changed = self._storage.changed(self._release, newest)
        if _being_parsed(self.name) & set(changed or ()):
            return False
        with self.lock():
            self._storage.switch(newest, changed)
        self._changed_at.update(dict.fromkeys(changed or (), time.monotonic()))
        self._release = newest
        self._storage.use(newest)
        log.info("bundle %s: release %s is current", self.name, newest)
        return True

    def _parse_again(self) -> None:
        """Have the files that changed lately parsed once more: the result of a parse may get lost."""
        limit = time.monotonic() - REMEMBERED_SECONDS
        self._changed_at = {name: at for name, at in self._changed_at.items() if at > limit}
        self._storage.touch(self._changed_at)

    def _is_early(self) -> bool:
        """Tell whether somebody asked for this look: Airflow itself would have come later."""
        return self.refresh_interval > 0 and time.monotonic() - self._looked_at < 0.9 * self._usual_interval

    def _check_disk(self) -> None:
        """Drop files that a crash of the machine left broken; they are downloaded again."""
        newest = self._storage.newest()
        broken = self._storage.drop_broken(newest) if newest else []
        if broken:
            log.warning("bundle %s: %d files were broken on disk, such as %s", self.name, len(broken), broken[0])

    def _postpone(self, error: Exception) -> None:
        """Come back in a while, later each time."""
        self._failures += 1
        pause = min(2**self._failures, LONGEST_PAUSE_SECONDS)
        if self._release is None:
            # Airflow tries again in its next round, within a second.
            time.sleep(min(pause, 5))
            raise BundleError(f"no release can be loaded: {error}") from None
        self.refresh_interval = min(pause, self._usual_interval)
        log.warning("bundle %s: stays with release %s: %s", self.name, self._release, error)

    # Old releases

    def _collect(self) -> None:
        """Remove what nobody uses any more, now and then."""
        if time.monotonic() - self._collected_at < COLLECT_EVERY_SECONDS:
            return
        self._collected_at = time.monotonic()
        self.collect()

    def collect(self, unused_seconds: float = UNUSED_SECONDS) -> None:
        """Remove releases that no task began to use for so long, and the files that were theirs alone.

        :param unused_seconds: How long; tasks at work keep theirs however long they take.
        """
        with self.lock():
            for number in self._storage.unused(self._release, unused_seconds):
                # Airflow holds this file locked while a task of the release runs, and never removes it.
                tracking = get_bundle_tracking_file(self.name, number)
                if not _is_locked(tracking):
                    self._storage.remove(number, unused_seconds)
                    tracking.unlink(missing_ok=True)
            self._storage.sweep(unused_seconds)


def without_lost(files: Mapping[str, str], lost: Collection[str]) -> dict[str, str]:
    """Return a release's files with an error in the place of each DAG of which one file is lost."""
    dags = {name.partition(".")[0] for name, digest in files.items() if digest in lost}
    kept = {name: digest for name, digest in files.items() if name.partition(".")[0] not in dags}
    return kept | {f"{dag}.py": LOST_DIGEST for dag in dags}


def _import_what_parsing_needs() -> None:
    """Import what Airflow imports when it serializes the first DAG of a process: 0.1 s for each file that is parsed.

    Not with this module, for a task that starts would pay for it.
    """
    import airflow.providers.standard.operators.trigger_dagrun
    import airflow.providers.standard.sensors.external_task  # noqa: F401


def _being_parsed(bundle: str) -> set[str]:
    """Return which of a bundle's files Airflow's DAG processor is parsing, if it is the one that called.

    It tells nobody. But it is up the stack, and holds them in ``_processors`` until their results are stored.
    """
    frame = sys._getframe(1)
    while frame.f_back is not None:
        frame = frame.f_back
        files = getattr(frame.f_locals.get("self"), "_processors", None)
        if isinstance(files, dict):
            return {file.rel_path.parts[0] for file in files if file.bundle_name == bundle}
    return set()


def _is_locked(path: Path) -> bool:
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
