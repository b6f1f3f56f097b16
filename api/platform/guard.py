"""The guard: the process above the supervisor. It owns every process of the platform and leaves none behind.

It is a *child subreaper*: a process whose parent died becomes its child instead of init's, so that nothing escapes,
whatever Airflow forks. It starts the supervisor, passes signals on, and when the supervisor ends, however it ends, it
ends all that is left. The supervisor in turn ends the platform when the guard dies.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from types import FrameType

import orjson

from api.platform.home import Home, HomeLock
from operators.sandbox.processes import become_subreaper, die_with_parent, end_descendants

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


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
    try:
        descriptor = lock.acquire()
    except OSError as error:
        _report(arguments, f"The lock of the state folder {home.path} cannot be written ({error.strerror}).")
        return 1
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


def _report(arguments: list[str], text: str) -> None:
    """Tell the caller, in the supervisor's way, why there is no supervisor."""
    for descriptor in _event_descriptor(arguments):
        with contextlib.suppress(OSError):
            line = orjson.dumps({"event": "failed", "text": text}, option=orjson.OPT_APPEND_NEWLINE)
            os.write(descriptor, line)


def _event_descriptor(arguments: list[str]) -> tuple[int, ...]:
    return (int(arguments[arguments.index("--events") + 1]),) if "--events" in arguments else ()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
