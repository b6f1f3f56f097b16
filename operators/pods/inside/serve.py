"""The program of a code step's container: the sandbox's keeper, connected with the steward. Standard library only.

What it forks has its user id, for a pod has but one; so it is not dumpable, which closes its memory and descriptors to
the steps, and it is the first process of the container, so that it ends every process of a step before the next begins.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from typing import Any

GIVEN = "/agent-factory/given"
CONNECT_SECONDS = 60.0


def connected() -> socket.socket:
    """Return the connection with the steward."""
    end = time.monotonic() + CONNECT_SECONDS
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(GIVEN + "/keeper.sock")
        except OSError:
            connection.close()
            if time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            return connection


def main() -> None:
    """Serve until the steward closes the connection."""
    sys.path.insert(0, GIVEN)
    from operators.sandbox import confinement, folders, keeper, processes
    from operators.sandbox.watch import Ended

    sys.path = [folder for folder in sys.path if folder != GIVEN and os.path.isdir(folder)]
    for name in keeper.WARM:
        __import__(name)
    # No code of the tenant's has run yet: nobody else can have made this connection.
    connection = connected()
    os.dup2(connection.fileno(), 0)
    os.dup2(connection.fileno(), 1)
    connection.close()
    processes.become_subreaper()
    signal.signal(signal.SIGTERM, keeper._stop)
    confinement.hide_from_steps()

    class PodKeeper(keeper.Keeper):
        def _run(self, request: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytearray]:
            try:
                return super()._run(request, payload)
            finally:
                for folder in confinement.SCRATCH:
                    folders.empty(folder)

    own = ("pid",) if os.getpid() == 1 else ()
    served = PodKeeper(confinement.Confinement(None, own, counts_processes=False))
    with contextlib.suppress(Ended, BrokenPipeError, ConnectionError):
        served.serve()
    served.end_steps()


if __name__ == "__main__":
    main()
