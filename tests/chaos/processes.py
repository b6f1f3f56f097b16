"""The processes of a platform that can be killed or frozen."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from api.platform.home import Home
from operators.sandbox.processes import descendants

SUPERVISED = (
    "airflow-scheduler",
    "airflow-triggerer",
    "airflow-dag-processor",
    "airflow-api-server",
    "api",
    "postgres",
)


class Relays:
    """Relays in processes of their own, started again when they die.

    :param environment: The control plane's.
    """

    def __init__(self, count: int, environment: Mapping[str, str], log: Path) -> None:
        self._environment = dict(environment)
        self._log = log
        self._over = threading.Event()
        self._processes: list[subprocess.Popen[bytes]] = []
        for _ in range(count):
            threading.Thread(target=self._keep, daemon=True).start()

    def _keep(self) -> None:
        while not self._over.is_set():
            with self._log.open("ab") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", "api.relay"], env=self._environment, stdout=log, stderr=log
                )
            self._processes.append(process)
            process.wait()
            self._processes.remove(process)
            self._over.wait(0.5)

    def pids(self) -> list[int]:
        """Return those that run."""
        return [process.pid for process in self._processes if process.poll() is None]

    def stop(self) -> None:
        """End them."""
        self._over.set()
        for process in list(self._processes):
            process.terminate()
            process.wait()


def child_pid(home: Home, key: str) -> int | None:
    """Return the process of one of the supervisor's children; None while it is being started again."""
    pid = home.read_state()["children"].get(key, {}).get("pid")
    return pid if pid is not None and Path(f"/proc/{pid}").exists() else None


def busy_workers(home: Home) -> dict[int, list[int]]:
    """Return the executor's workers that run a task, each with the processes of its task."""
    found: dict[int, list[int]] = {}
    for key in home.read_state()["children"]:
        parent = child_pid(home, key) if key == "airflow-scheduler" or key.startswith("airflow-worker") else None
        for pid in descendants(parent) if parent is not None else ():
            with contextlib.suppress(OSError):
                below = descendants(pid)
                name = Path(f"/proc/{pid}/cmdline").read_bytes()
                # Celery's workers are named after the task they run.
                if below and (b"LocalExecutor" in name or b"airflow supervisor" in name):
                    found[pid] = below
    return found


def signal_all(pids: list[int], number: signal.Signals) -> None:
    """Send a signal to processes; those that are gone are let be."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def group_of(pid: int) -> list[int]:
    """Return a process and all below it."""
    return [pid, *descendants(pid)]
