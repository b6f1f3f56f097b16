"""The guard: the process above the supervisor. It owns every process of the platform and leaves none behind.

It is a *child subreaper*: a process whose parent died becomes its child instead of init's, so that nothing escapes,
whatever Airflow forks. It starts the supervisor, passes signals on, and when the supervisor ends, however it ends, it
ends all that is left. The supervisor in turn ends the platform when the guard dies.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from types import FrameType

from api.platform.home import Home, HomeLock

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
TERMINATION_SECONDS = 8.0
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(number: int = signal.SIGTERM) -> None:
    """Ask the kernel to send this process a signal when the thread that started it ends. For ``preexec_fn``."""
    _libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)


def become_subreaper() -> None:
    """Make orphaned descendants children of this process."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants(root: int) -> list[int]:
    """Return the pids of all processes below ``root``, nearest first."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            parent = _parent_of(int(entry))
            if parent is not None:
                children.setdefault(parent, []).append(int(entry))
    found: list[int] = []
    queue = [root]
    while queue:
        below = children.get(queue.pop(0), [])
        found += below
        queue += below
    return found


def end_descendants(root: int, seconds: float = TERMINATION_SECONDS) -> int:
    """End all processes below ``root``: SIGTERM, then SIGKILL after ``seconds``. Return how many were found."""
    found = descendants(root)
    _signal_all(found, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while descendants(root) and time.monotonic() < deadline:
        _reap()
        time.sleep(0.05)
    while left := descendants(root):
        _signal_all(left, signal.SIGKILL)
        _reap()
        time.sleep(0.02)
    return len(found)


def _parent_of(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b") ")[2].split()
    except OSError:
        return None
    return None if fields[0] == b"Z" else int(fields[1])


def _signal_all(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def main(arguments: list[str]) -> int:
    """Run the supervisor with these arguments until it ends; return its exit code.

    ``--follow`` first among them: end when the caller dies.
    """
    caller = os.getppid()
    if arguments[:1] == ["--follow"]:
        arguments = arguments[1:]
        die_with_parent()
        if os.getppid() != caller:
            return 1
    become_subreaper()
    home = Home.from_environment()
    lock = HomeLock(home)
    descriptor = lock.acquire()
    if descriptor is None:
        return 3
    stopping = False
    supervisor: subprocess.Popen[bytes] | None = None

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        if supervisor is not None:
            supervisor.send_signal(signal.SIGTERM)

    for number in STOP_SIGNALS:
        signal.signal(number, stop)
    supervisor = subprocess.Popen(
        [sys.executable, "-m", "api.platform.supervisor", *arguments],
        preexec_fn=die_with_parent, start_new_session=True,
        # The supervisor shares the lock: it is free only when both are gone.
        pass_fds=(descriptor, *_event_descriptor(arguments)),
    )  # fmt: skip
    if stopping:
        supervisor.send_signal(signal.SIGTERM)
    code = supervisor.wait()
    end_descendants(os.getpid())
    return code if code >= 0 else 1


def _event_descriptor(arguments: list[str]) -> tuple[int, ...]:
    return (int(arguments[arguments.index("--events") + 1]),) if "--events" in arguments else ()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
