"""The bundle when something goes wrong: what is loaded stays, and the next look heals."""

from __future__ import annotations

import hashlib
import logging
import os
import resource
import signal
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from plugins.bundle import AgentFactoryBundle
from plugins.bundle.manifest import BundleError, shard_of
from tests.plugins.releases import Releases

pytestmark = pytest.mark.unit

NAME = "acme__greet.py"
PLAN = "acme__greet.plan.json"
SHARD = shard_of(NAME)
SAME_SHARD = next(name for number in range(999) if shard_of(name := f"acme__other_{number}.py") == SHARD)


def loaded(version: str | None = None) -> AgentFactoryBundle:
    made = AgentFactoryBundle(name="agent_factory", refresh_interval=30, version=version)
    made.initialize()
    return made


def read(made: AgentFactoryBundle) -> bytes:
    with zipfile.ZipFile(made.path / SHARD) as archive:
        return archive.read(NAME)


def number_of(made: AgentFactoryBundle) -> str | None:
    version = made.get_current_version()
    return version.version if version else None


def in_child(work: Callable[[], object]) -> int:
    """Do something in a process of its own; return how that ended: 0 where nothing was raised."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class TestLostFiles:
    @pytest.mark.parametrize("name", [NAME, PLAN])
    def test_concern_their_workflow_only(self, releases: Releases, folder: Path, name: str) -> None:
        files = {NAME: b"first", PLAN: b"{}", SAME_SHARD: b"other"}
        releases.publish(1, files)
        digest = hashlib.sha256(files[name]).hexdigest()
        releases.lost.add(digest)
        made = loaded()
        with zipfile.ZipFile(made.path / SHARD) as archive:
            assert archive.read(SAME_SHARD) == b"other"
            with pytest.raises(RuntimeError, match="Publish the workflow again"):
                exec(compile(archive.read(NAME), NAME, "exec"))
        assert not (loaded("1").path / SHARD / PLAN).exists()
        # Published again, it is there again: the same files in another release.
        releases.lost.clear()
        releases.publish(2, files)
        made.refresh()
        assert read(made) == b"first"
        assert (loaded("2").path / SHARD / PLAN).read_bytes() == b"{}"

    def test_that_are_on_disk_already_are_not_missed(self, releases: Releases, folder: Path) -> None:
        releases.publish(1, {NAME: b"first"})
        made = loaded()
        releases.lost.add(hashlib.sha256(b"first").hexdigest())
        releases.publish(2, {NAME: b"first", SAME_SHARD: b"other"})
        made.refresh()
        assert read(made) == b"first"


class TestControlPlane:
    def test_wrong_bytes(self, releases: Releases, folder: Path) -> None:
        releases.publish(1, {NAME: b"first"})
        made = loaded()
        releases.publish(2, {NAME: b"second"})
        digest = hashlib.sha256(b"second").hexdigest()
        for spoilt in (b"forged", b"secon", b""):
            releases.spoilt[digest] = spoilt
            made.refresh()
            assert (number_of(made), read(made)) == ("1", b"first")
        with pytest.raises(BundleError, match="must have the digest"):
            loaded("2")
        assert not (folder / "versions" / "2").exists()
        releases.spoilt.clear()
        made.refresh()
        assert (number_of(made), read(made)) == ("2", b"second")

    def test_away(self, releases: Releases, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
        releases.publish(1, {NAME: b"first"})
        made = loaded()
        releases.publish(2, {NAME: b"second"})
        releases.status = 503
        intervals = []
        with caplog.at_level(logging.WARNING):
            for _ in range(6):
                made.refresh()
                intervals.append(made.refresh_interval)
        assert intervals == [2, 4, 8, 16, 30, 30]
        assert (number_of(made), read(made)) == ("1", b"first")
        assert caplog.messages[-1].endswith("stays with release 1: the control plane did not give release: 503")
        releases.status = 200
        made.refresh()
        assert (number_of(made), made.refresh_interval) == ("2", 30)

    def test_away_and_nothing_loaded(self, releases: Releases, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """An empty folder would make Airflow take every DAG for deleted."""
        slept: list[float] = []
        monkeypatch.setattr("plugins.bundle.bundle.time.sleep", slept.append)
        monkeypatch.setenv("AGENT_FACTORY_RUNTIME_TOKEN", "other")
        made = AgentFactoryBundle(name="agent_factory", refresh_interval=30)
        for _ in range(4):
            with pytest.raises(BundleError, match=r"no release can be loaded: .* did not give release: 404"):
                made.initialize()
        assert slept == [2, 4, 5, 5]
        assert not made.is_initialized

    def test_away_while_a_task_starts(self, releases: Releases, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        releases.publish(1, {NAME: b"first"})
        releases.status = 503
        monkeypatch.setattr("plugins.bundle.control_plane.time.sleep", lambda _: setattr(releases, "status", 200))
        assert (loaded("1").path / SHARD / NAME).read_bytes() == b"first"


class TestCrash:
    def test_killed_at_any_moment(self, releases: Releases, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Everything comes into its place by a rename: the process is killed at the first of them, at the second..."""
        real, crashes, release = Path.rename, 0, 1
        releases.publish(1, {NAME: b"1", PLAN: b"plan 1", SAME_SHARD: b"other 1"})
        loaded()
        ended = -signal.SIGKILL
        while ended:
            release += 1
            releases.publish(release, {NAME: b"%d" % release, PLAN: b"plan %d" % release, "acme__x.py": b"x"})
            left = crashes

            def rename(path: Path, target: Path) -> Path:
                nonlocal left
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 1
                return real(path, target)

            monkeypatch.setattr(Path, "rename", rename)
            ended = in_child(loaded)
            monkeypatch.setattr(Path, "rename", real)
            healed = loaded()
            assert (number_of(healed), read(healed)) == (str(release), b"%d" % release)
            assert (loaded(str(release)).path / SHARD / PLAN).read_bytes() == b"plan %d" % release
            crashes += 1
        assert crashes > 5
        for path in (folder / "store").iterdir():
            os.utime(path, (0, 0))
        healed.collect(60)
        assert not list(folder.rglob(".new-*"))

    def test_files_that_a_crash_of_the_machine_broke(
        self, releases: Releases, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        releases.publish(1, {NAME: b"first", PLAN: b"{}"})
        loaded()
        for content in (b"first", b"{}"):
            (folder / "store" / hashlib.sha256(content).hexdigest()).write_bytes(b"")
        (folder / "current" / SHARD).write_bytes(b"")
        healed = loaded()
        assert read(healed) == b"first"
        assert (loaded("1").path / SHARD / PLAN).read_bytes() == b"{}"
        assert "2 files were broken on disk" in caplog.text

    @pytest.mark.parametrize("sizes", [(2000, 100), (700, 700)], ids=["a file", "the archive"])
    def test_disk_is_full(self, releases: Releases, folder: Path, sizes: tuple[int, int]) -> None:
        releases.publish(1, {NAME: b"first", SAME_SHARD: b"other"})
        made = loaded()
        releases.publish(2, {NAME: b"a" * sizes[0], SAME_SHARD: b"b" * sizes[1]})

        def full() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
            made.refresh()
            assert (number_of(made), read(made)) == ("1", b"first")

        assert in_child(full) == 0
        assert read(made) == b"first"
        made.refresh()
        assert (number_of(made), read(made)) == ("2", b"a" * sizes[0])

    def test_many_processes_at_once(self, releases: Releases, folder: Path) -> None:
        """Two DAG processors follow, tasks start with old releases, and those are removed all the time."""
        for number in range(1, 9):
            releases.publish(number, {NAME: b"%d" % number, PLAN: b"plan %d" % number})

        def follow() -> None:
            for _ in range(10):
                made = loaded()
                for path in (folder / "versions").glob("[1-7]"):
                    with suppress(FileNotFoundError):
                        os.utime(path, (0, 0))
                made.collect(60)
                assert read(made) == b"8"

        def start_tasks() -> None:
            for number in (*range(1, 9), *range(8, 0, -1)):
                plan = None
                while plan is None:
                    # What was used just now is never removed; but the others let it look old.
                    with suppress(FileNotFoundError):
                        plan = (loaded(str(number)).path / SHARD / PLAN).read_bytes()
                assert plan == b"plan %d" % number

        pids = [os.fork() for _ in range(4)]
        if 0 in pids:
            _finish((follow, follow, start_tasks, start_tasks)[pids.index(0)])
        assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0] * 4
        assert read(loaded()) == b"8"


def _finish(work: Callable[[], object]) -> None:
    try:
        work()
    except BaseException:
        logging.exception("in a child")
        os._exit(1)
    os._exit(0)


class Manager:
    """Calls a bundle as Airflow's DAG processor does."""

    def __init__(self) -> None:
        self._processors: dict[Any, Any] = {}

    @contextmanager
    def parsing(self, path: str) -> Iterator[None]:
        from airflow.dag_processing.manager import DagFileInfo

        self._processors = {DagFileInfo(rel_path=Path(path), bundle_name="agent_factory"): None}
        yield
        self._processors = {}

    def refresh(self, made: AgentFactoryBundle) -> tuple[str | None, int]:
        made.refresh()
        return number_of(made), made.refresh_interval


class TestParsing:
    def test_airflow_holds_its_parses_where_we_look(self) -> None:
        from airflow.dag_processing.manager import DagFileProcessorManager

        assert "_processors" in {field.name for field in DagFileProcessorManager.__attrs_attrs__}

    @pytest.mark.parametrize("path", [SHARD, f"{SHARD}/{NAME}"])
    def test_file_that_is_being_parsed_is_not_replaced(self, releases: Releases, folder: Path, path: str) -> None:
        releases.publish(1, {NAME: b"first"})
        made, manager = loaded(), Manager()
        releases.publish(2, {NAME: b"second"})
        with manager.parsing(path):
            assert manager.refresh(made) == ("1", 0)
            assert read(made) == b"first"
        assert manager.refresh(made) == ("2", 30)
        assert read(made) == b"second"

    def test_parse_of_another_file_is_not_in_the_way(self, releases: Releases, folder: Path) -> None:
        releases.publish(1, {NAME: b"first"})
        made, manager = loaded(), Manager()
        releases.publish(2, {NAME: b"second"})
        with manager.parsing("shard63.zip"):
            assert manager.refresh(made) == ("2", 30)

    def test_who_asks_again_has_what_changed_lately_parsed_again(
        self, releases: Releases, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = 1000.0
        monkeypatch.setattr("plugins.bundle.bundle.time.monotonic", lambda: now)
        releases.publish(1, {NAME: b"first", "acme__x.py": b"x"})
        made = loaded()
        releases.publish(2, {NAME: b"second", "acme__x.py": b"x"})
        made.refresh()
        looks = []
        for seconds in (1, 5, 40, 5, 200):
            now += seconds
            before = {path.name: path.stat().st_mtime_ns for path in made.path.iterdir()}
            made.refresh()
            looks.append({name for name, at in before.items() if (made.path / name).stat().st_mtime_ns != at})
        assert looks == [set(), {SHARD}, set(), {SHARD}, set()]

    def test_who_asks_for_what_is_new_has_only_that_parsed(
        self, releases: Releases, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = 1000.0
        monkeypatch.setattr("plugins.bundle.bundle.time.monotonic", lambda: now)
        made = loaded()
        releases.publish(1, {NAME: b"first"})
        made.refresh()
        before = (made.path / SHARD).stat().st_mtime_ns
        now += 5
        releases.publish(2, {NAME: b"first", "acme__x.py": b"x"})
        made.refresh()
        assert number_of(made) == "2"
        assert (made.path / SHARD).stat().st_mtime_ns == before
