"""A state folder whose disk is full or read-only: one sentence, nothing broken, and it goes on when there is room."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg2
import pytest

from api.platform import disk
from api.platform.children import stop_all
from api.platform.home import Home, HomeLock, write_private
from api.platform.supervisor import Stopped, Supervisor
from tests.api.platform.test_processes import wait_until
from tests.support import free_ports

pytestmark = pytest.mark.platform

MB = 1_000_000


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """A disk in memory, which everybody may enter."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    folder = Path(tempfile.mkdtemp(prefix="af-disk-"))
    folder.chmod(0o755)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes * MB},mode=755", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
        if mounted.returncode:
            pytest.skip(f"mounting is not possible here: {mounted.stderr.strip()}")
        try:
            yield folder
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)
    finally:
        folder.rmdir()


def fill(folder: Path, leave: int = 0) -> Path:
    """Take all but some bytes of a disk; return the file that has them."""
    ballast = folder / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while disk.free_bytes(folder) > leave:
            file.write(b"\0" * min(MB, max(1, disk.free_bytes(folder) - leave)))
    return ballast


def home_on(folder: Path) -> Home:
    return Home(folder / "home", *free_ports(2))


def agent_factory(home: Home, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "AGENT_FACTORY_HOME": str(home.path),
        "AGENT_FACTORY_API_PORT": str(home.api_port),
        "AGENT_FACTORY_AIRFLOW_PORT": str(home.airflow_port),
    }
    command = [str(Path(sys.executable).parent / "agent-factory"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


class TestStart:
    def test_too_little_room(self) -> None:
        with small_disk(20) as folder:
            home = home_on(folder)
            up = agent_factory(home, "up")
            assert (up.returncode, up.stderr.count("\n")) == (1, 1)
            assert f"the disk of {home.path} has" in up.stderr
            assert f"needs {disk.NEW_BYTES // MB} MB. Make room, or set AGENT_FACTORY_HOME" in up.stderr

    def test_full_to_the_last_byte(self) -> None:
        with small_disk(5) as folder:
            home = home_on(folder)
            home.logs.mkdir(parents=True)
            fill(folder)
            up = agent_factory(home, "up")
            assert (up.returncode, up.stderr.count("\n")) == (1, 1)
            assert f"the folder {home.path} cannot be written (No space left on device)" in up.stderr

    def test_read_only(self) -> None:
        with small_disk(500) as folder:
            home = home_on(folder)
            home.prepare()
            subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
            for command in ("up", "demo"):
                result = agent_factory(home, command)
                assert result.returncode == 1
                assert result.stderr.startswith("Error: The platform cannot start: the folder ")
                assert "cannot be written (Read-only file system)" in result.stderr
            assert agent_factory(home, "down").stdout == "nothing runs\n"
            assert agent_factory(home, "status").stdout.startswith("stopped")

    def test_files_are_whole_or_not_there(self) -> None:
        with small_disk(2) as folder:
            home = home_on(folder)
            home.logs.mkdir(parents=True)
            credentials = home.credentials()
            state = home.path / "platform.json"
            write_private(state, b"before")
            fill(folder)
            with pytest.raises(OSError, match="No space left"):
                write_private(state, b"x" * MB)
            assert state.read_bytes() == b"before"
            assert home.credentials() == credentials
            assert {path.name for path in home.path.iterdir()} == {"credentials.json", "platform.json", "logs"}
            with pytest.raises(OSError, match="No space left"):
                HomeLock(home).acquire()
            assert HomeLock(home).holder() is None


class TestWhileItRuns:
    @pytest.fixture
    def reports(self) -> list[str]:
        return []

    @pytest.fixture
    def supervisor(self, reports: list[str]) -> Iterator[Supervisor]:
        """A supervisor of PostgreSQL alone, on a disk of its own."""
        with small_disk(600) as folder:
            home = home_on(folder)
            home.prepare()
            base = folder / "postgres"
            base.mkdir(mode=0o711)
            (home.path / "postgres.path").write_text(str(base))
            supervisor = Supervisor(home, restart=True, report=lambda event, text: reports.append(f"{event}: {text}"))
            try:
                supervisor._start_postgres()
                yield supervisor
            finally:
                stop_all(supervisor.children, 10)
                shutil.rmtree(base, ignore_errors=True)

    @contextmanager
    def watched(self, supervisor: Supervisor) -> Iterator[None]:
        def watch() -> None:
            with suppress(Stopped):
                supervisor._watch()

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            supervisor.ask_to_stop(0, None)
            thread.join()

    def test_postgres_is_started_again_when_there_is_room(self, supervisor: Supervisor, reports: list[str]) -> None:
        [postgres] = supervisor.children
        folder = supervisor.home.path.parent
        store(supervisor, "CREATE TABLE kept (text text)", "INSERT INTO kept VALUES ('before')")
        with self.watched(supervisor):
            ballast = fill(folder)
            with pytest.raises(psycopg2.Error):
                store(
                    supervisor,
                    *["INSERT INTO kept SELECT repeat(md5(n::text), 99) FROM generate_series(1, 9999) n"] * 9,
                )
            if postgres.process is not None:
                postgres.process.kill()
            assert wait_until(lambda: any("It is started again when there is room." in line for line in reports))
            assert "No space left on device" in reports[-1]
            assert not postgres.running
            ballast.unlink()
            assert wait_until(lambda: postgres.running and answers(supervisor))
            assert kept(supervisor) == ["before"]
            store(supervisor, "INSERT INTO kept VALUES ('after')")
            assert kept(supervisor) == ["before", "after"]
            assert len(postgres.restarts) == 1

    def test_it_is_said_once(self, supervisor: Supervisor, reports: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("api.platform.supervisor.DISK_SECONDS", 0.0)
        folder = supervisor.home.path.parent
        began = len(reports)
        with self.watched(supervisor):
            ballast = fill(folder, leave=disk.SPARE_BYTES - 5 * MB)
            assert wait_until(lambda: len(reports) > began)
            assert answers(supervisor)
            ballast.unlink()
            assert wait_until(lambda: len(reports) > began + 1)
        full, well = reports[began:]
        assert full.startswith("notice: The disk of ")
        assert well == "notice: The disk takes what is written again."


def store(supervisor: Supervisor, *statements: str) -> None:
    connection = psycopg2.connect(supervisor.cluster.url("agent_factory"))
    try:
        for statement in statements:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement)
    finally:
        connection.close()


def kept(supervisor: Supervisor) -> list[str]:
    connection = psycopg2.connect(supervisor.cluster.url("agent_factory"))
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT text FROM kept")
            return [text for (text,) in cursor.fetchall()]
    finally:
        connection.close()


def answers(supervisor: Supervisor) -> bool:
    try:
        psycopg2.connect(supervisor.cluster.url("agent_factory")).close()
    except psycopg2.OperationalError:
        return False
    return True
