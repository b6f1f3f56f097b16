"""Child processes of the supervisor: start, watch, restart, stop."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from api.platform.postgres import Account, last_line
from operators.sandbox.processes import die_with_parent

MAXIMUM_LOG_BYTES = 20_000_000


@dataclass
class Child:
    """One program of the platform.

    :param name: What users call it ("the Airflow scheduler").
    :param key: Short name for logs and ``status``.
    :param command: Its command line.
    :param environment: Its whole environment.
    :param stop_signal: What ends it in good order.
    :param account: Who runs it, if not the caller.
    """

    name: str
    key: str
    command: list[str]
    environment: Mapping[str, str]
    log: Path
    stop_signal: int = signal.SIGTERM
    account: Account | None = None
    restarts: list[float] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it in a process group of its own; it is told when the supervisor dies."""
        if self.log.exists() and self.log.stat().st_size > MAXIMUM_LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        number, account = self.stop_signal, self.account
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env=dict(self.environment), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=lambda: die_with_parent(number), cwd="/",
                user=account.uid if account else None, group=account.gid if account else None,
                extra_groups=[] if account else None,
            )  # fmt: skip

    def exit_code(self) -> int | None:
        """Return the exit code, or None while it runs or before it was started."""
        return self.process.poll() if self.process else None

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self.process is not None and self.process.poll() is None

    def ask_to_stop(self) -> None:
        """Send it its stop signal."""
        if self.running:
            assert self.process is not None
            self.process.send_signal(self.stop_signal)

    def kill_group(self) -> None:
        """Kill it and all in its process group."""
        if self.process is not None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                return
            self.process.wait()

    def death_notice(self) -> str:
        """Return one sentence about its end, with the last line of its log."""
        code = self.exit_code()
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"stopped with exit code {code}"
        return f"{self.name} {how}; the end of {self.log}: {last_line(_tail(self.log))}"


def stop_all(children: list[Child], seconds: float) -> None:
    """Stop children in reverse order of their start, each group given ``seconds`` in all."""
    deadline = time.monotonic() + seconds
    for child in reversed(children):
        child.ask_to_stop()
    for child in reversed(children):
        if child.process is None:
            continue
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.process.wait(timeout=max(0.1, deadline - time.monotonic()))
        child.kill_group()


def _tail(path: Path, size: int = 4000) -> str:
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - size))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
