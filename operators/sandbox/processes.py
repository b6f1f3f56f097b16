"""Processes below one of ours: find them, end them, and die with their parent. Linux only, standard library only."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
TERMINATION_SECONDS = 8.0

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
    signal_all(found, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while descendants(root) and time.monotonic() < deadline:
        reap()
        time.sleep(0.05)
    while left := descendants(root):
        signal_all(left, signal.SIGKILL)
        reap()
        time.sleep(0.02)
    return len(found)


def signal_all(pids: list[int], number: int) -> None:
    """Send a signal to processes; those that are gone are passed over."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def reap() -> None:
    """Take note of every child that has ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _parent_of(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b") ")[2].split()
    except OSError:
        return None
    return None if fields[0] == b"Z" else int(fields[1])
