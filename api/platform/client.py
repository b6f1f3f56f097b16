"""Starting, stopping and asking after the embedded platform from another process."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import orjson

from api.platform.errors import PlatformError
from api.platform.home import Home, HomeLock

STOP_SECONDS = 40.0


class RunningPlatform:
    """A platform that this process started.

    :param home: Its state folder.
    :param process: The guard.
    """

    def __init__(self, home: Home, process: subprocess.Popen[bytes], events: int) -> None:
        self.home = home
        self.process = process
        self._events = os.fdopen(events, "rb")

    def wait_ready(self, show: Callable[[str], None]) -> None:
        """Pass progress on until the platform is ready.

        :raises PlatformError: It failed; with its own sentence.
        """
        for event, text in self._read_events():
            if event == "ready":
                show(text)
                return
            if event == "failed":
                self.process.wait()
                raise PlatformError(text)
            show(text)
        self.process.wait()
        raise PlatformError(f"The platform stopped while starting; see {self.home.logs / 'platform.log'}.")

    def wait(self, show: Callable[[str], None]) -> int:
        """Follow the platform until it ends; return its exit code."""
        for _event, text in self._read_events():
            show(text)
        return self.process.wait()

    def failure(self) -> str | None:
        """Return why the platform ended by itself, or None while it runs."""
        if self.process.poll() is None:
            return None
        texts = [text for event, text in self._read_events() if event == "failed"]
        return texts[-1] if texts else f"The platform stopped with exit code {self.process.returncode}."

    def stop(self) -> None:
        """End the platform and wait until nothing of it is left."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait()

    def _read_events(self) -> Iterator[tuple[str, str]]:
        for line in self._events:
            event = orjson.loads(line)
            yield event["event"], event["text"]


def start(home: Home, *, detach: bool, restart: bool) -> RunningPlatform:
    """Start the guard, which starts everything; does not wait until it is ready.

    :param detach: Whether the platform outlives this process; if not, it ends when this process does.
    :raises PlatformError: Another one runs, or a port is in use.
    """
    home.prepare()
    if (pid := HomeLock(home).holder()) is not None:
        raise PlatformError(f"A platform already runs from {home.path} (process {pid}); `agent-factory down` stops it.")
    home.check_ports()
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "api.platform.guard"]
    command += [] if detach else ["--follow"]
    command += ["--events", str(writing)]
    command += [] if restart else ["--no-restart"]
    try:
        # The guard has a session of its own, so that Ctrl-C reaches it once: from us, in order.
        process = subprocess.Popen(
            command, pass_fds=(writing,), start_new_session=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
            env={
                **os.environ,
                # Images of Python set this. Each start of a process would compile thousands of modules again.
                "PYTHONDONTWRITEBYTECODE": "",
                "AGENT_FACTORY_HOME": str(home.path),
                "AGENT_FACTORY_API_PORT": str(home.api_port),
                "AGENT_FACTORY_AIRFLOW_PORT": str(home.airflow_port),
            },
        )  # fmt: skip
    finally:
        os.close(writing)
    return RunningPlatform(home, process, reading)


def stop(home: Home) -> bool:
    """Stop the platform of a state folder; False if none runs.

    :raises PlatformError: It did not end in time.
    """
    lock = HomeLock(home)
    guard = lock.holder()
    if guard is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(guard, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while (holder := lock.holder()) is not None:
        if time.monotonic() > deadline:
            raise PlatformError(f"The platform (process {holder}) did not end within {STOP_SECONDS:.0f} s.")
        time.sleep(0.05)
    return True


@contextmanager
def stop_on_termination() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into KeyboardInterrupt, so that one way of clean-up serves all."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    previous = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
