"""However the platform ends, nothing of it is left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from api.platform import client
from api.platform.errors import PlatformError
from api.platform.home import Home, HomeLock
from operators.sandbox.processes import descendants
from tests.support import temporary_home

pytestmark = [pytest.mark.platform, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def used_home() -> Iterator[Home]:
    """One state folder for all: only the first start has to make the databases."""
    with temporary_home() as home:
        yield home


@pytest.fixture
def home(used_home: Home) -> Iterator[Home]:
    # What a test reads of the state is of its own platform.
    used_home.state_file.unlink(missing_ok=True)
    try:
        yield used_home
        assert HomeLock(used_home).holder() is None
    finally:
        client.stop(used_home)


def started_at(pid: int) -> str | None:
    """Return the kernel's start time of a live process: with the pid it names one process for ever."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()
    except OSError:
        return None
    return None if fields[0] == b"Z" else fields[19].decode()


def processes_below(guard: int) -> dict[int, str]:
    below = {pid: started_at(pid) for pid in (guard, *descendants(guard))}
    return {pid: start for pid, start in below.items() if start}


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def all_gone(processes: dict[int, str]) -> bool:
    return not any(started_at(pid) == start for pid, start in processes.items())


class TestEnds:
    def test_supervisor_killed(self, home: Home) -> None:
        running = client.start(home, detach=False, restart=True)
        running.wait_ready(print)
        processes = processes_below(running.process.pid)
        supervisor = min(processes.keys() - {running.process.pid}, key=lambda pid: int(processes[pid]))
        assert len(processes) > 5
        os.kill(supervisor, signal.SIGKILL)
        assert running.process.wait(60) != 0
        assert all_gone(processes)

    def test_guard_killed(self, home: Home) -> None:
        running = client.start(home, detach=False, restart=True)
        running.wait_ready(print)
        processes = processes_below(running.process.pid)
        os.kill(running.process.pid, signal.SIGKILL)
        running.process.wait()
        assert wait_until(lambda: all_gone(processes))

    def test_caller_killed_then_up_and_down(self, home: Home) -> None:
        environment = {
            **os.environ,
            "AGENT_FACTORY_HOME": str(home.path),
            "AGENT_FACTORY_API_PORT": str(home.api_port),
            "AGENT_FACTORY_AIRFLOW_PORT": str(home.airflow_port),
        }
        command = [str(Path(sys.executable).parent / "agent-factory")]
        caller = subprocess.Popen([*command, "up"], env=environment, stdout=subprocess.DEVNULL)
        assert wait_until(lambda: home.read_state().get("status") == "ready", 300)
        guard = HomeLock(home).holder()
        assert guard is not None
        processes = processes_below(guard)
        caller.kill()
        caller.wait()
        assert wait_until(lambda: all_gone(processes))

        up = subprocess.run([*command, "up", "--detach"], env=environment, capture_output=True, text=True, check=False)
        assert up.returncode == 0, up.stderr
        guard = HomeLock(home).holder()
        assert guard is not None
        processes = processes_below(guard)
        status = subprocess.run([*command, "status"], env=environment, capture_output=True, text=True, check=False)
        assert (status.returncode, status.stdout.split()[0]) == (0, "ready")
        again = subprocess.run([*command, "up"], env=environment, capture_output=True, text=True, check=False)
        assert again.returncode == 1
        assert "already runs" in again.stderr
        down = subprocess.run([*command, "down"], env=environment, capture_output=True, text=True, check=False)
        assert (down.returncode, down.stdout.strip()) == (0, "stopped")
        assert all_gone(processes)
        status = subprocess.run([*command, "status"], env=environment, capture_output=True, text=True, check=False)
        assert (status.returncode, status.stdout.split()[0]) == (1, "stopped")

    def test_child_dies_while_starting(self, home: Home) -> None:
        running = client.start(home, detach=False, restart=False)
        assert wait_until(lambda: "airflow-scheduler" in home.read_state().get("children", {}), 120)
        processes = processes_below(running.process.pid)
        os.kill(home.read_state()["children"]["airflow-scheduler"]["pid"], signal.SIGKILL)
        with pytest.raises(PlatformError, match="The Airflow scheduler was killed by signal 9; the end of "):
            running.wait_ready(print)
        assert running.process.returncode == 1
        assert all_gone(processes)


class TestRestart:
    def test_dead_child_is_started_again(self, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        running = client.start(home, detach=False, restart=True)
        try:
            running.wait_ready(print)
            first = home.read_state()["children"]["api"]["pid"]
            found = Path(f"/proc/{first}/environ").read_bytes().split(b"\0")
            assert b"PYTHONDONTWRITEBYTECODE=" in found, "each start compiles every module again"
            os.kill(first, signal.SIGKILL)
            assert wait_until(lambda: home.read_state()["children"]["api"]["pid"] != first)
            assert home.read_state()["children"]["api"]["restarts"] == 1
        finally:
            running.stop()
