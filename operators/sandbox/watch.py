"""The keeper's watch over one step: its time, its memory and files, its result and what it prints. Standard library
only."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from typing import Any

from operators.sandbox.confinement import MAXIMUM_PROCESSES
from operators.sandbox.folders import is_larger

PRINT_LIMIT = 10_000_000
"""Bytes that a step may print; only the end is kept."""
TAIL = 8_000
"""Bytes of what was printed last that the worker is told."""
WATCH_SECONDS = 0.05
MAXIMUM_ENTRIES = 16_384
"""Files and folders of a step."""
KILOBYTE = 1024


class Ended(Exception):
    """The worker is gone or wants the keeper to end."""


class Watch:
    """The watch over one step: time, memory, result and prints."""

    def __init__(
        self,
        usage: Callable[[], tuple[int, int]],
        request: dict[str, Any],
        pid: int,
        results: int,
        prints: int,
        folder: str | None,
    ) -> None:
        self._usage = usage
        self._request = request
        self._pid = pid
        self._results = results
        self._prints = prints
        self._folder = folder
        self._deadline = time.monotonic() + request["timeout"]
        # Most steps are over before the first look, which costs as much as they do.
        self._next_look = time.monotonic() + WATCH_SECONDS
        self.result = bytearray()
        self._tail = b""
        self._printed = 0
        # One byte tells what kind of result it is.
        self._limit: int = request["result_limit"] + 1

    def until_end(self) -> str:
        """Return when the step's process has ended or must; say why.

        :raises Ended: The worker is gone, or has no more need of the step.
        """
        process = os.pidfd_open(self._pid)
        poll = select.poll()
        for descriptor in (0, process, self._results, self._prints):
            poll.register(descriptor, select.POLLIN)
        try:
            while True:
                ready = {descriptor for descriptor, _ in poll.poll(WATCH_SECONDS * 1000)}
                if 0 in ready:
                    raise Ended
                for descriptor in ready & {self._results, self._prints}:
                    if not self._read(descriptor):
                        poll.unregister(descriptor)
                reason = "ended" if process in ready else self._excess()
                if reason:
                    return reason
        finally:
            os.close(process)

    def _excess(self) -> str | None:
        """Say which limit is passed."""
        now = time.monotonic()
        if len(self.result) > self._limit:
            return "result_too_large"
        if self._printed > PRINT_LIMIT:
            return "printed_too_much"
        if now > self._deadline:
            return "timeout"
        if now < self._next_look:
            return None
        self._next_look = now + WATCH_SECONDS
        processes, memory = self._usage()
        # The kernel's own limit does not hold for root, as whom steps run where we lack the right to change users.
        if processes > MAXIMUM_PROCESSES + 1:
            return "too_many_processes"
        if memory > self._request["memory"] * 1.1 + 32_000_000:
            return "out_of_memory"
        if self._folder is not None and is_larger(self._folder, self._request["storage"], MAXIMUM_ENTRIES):
            return "storage_full"
        return None

    def _read(self, descriptor: int) -> bool:
        """Take what a pipe has; False at its end."""
        data = os.read(descriptor, 65_536)
        if descriptor == self._results:
            # One more than the limit tells that it is passed; the rest would only take our memory.
            self.result += data[: self._limit + 1 - len(self.result)]
        else:
            self._printed += len(data)
            self._tail = (self._tail + data)[-TAIL:]
        return bool(data)

    def drain(self) -> None:
        """Take what is left in the pipes, now that nobody holds their other ends."""
        for descriptor in (self._results, self._prints):
            while self._read(descriptor):
                pass

    def answer(self, reason: str, status: int, peak_memory: int) -> dict[str, Any]:
        """Return the answer to the worker, without the result.

        :param peak_memory: The most that the step's process had at once, in bytes.
        """
        if reason == "ended" and len(self.result) > self._limit:
            reason = "result_too_large"
        code = os.waitstatus_to_exitcode(status)
        tail = self._tail.decode("utf-8", "replace")
        return {"reason": reason, "exit_code": code, "peak_memory": peak_memory, "tail": tail}


def memory_of(pid: int) -> int:
    """Return the memory that a process shares with no file, in bytes."""
    try:
        with open(f"/proc/{pid}/status") as file:
            lines = [line.split() for line in file if line.startswith(("RssAnon:", "RssShmem:"))]
    except OSError:
        return 0
    return sum(int(line[1]) for line in lines) * KILOBYTE
