"""What runs an agent's commands in its sandbox: ``exec`` starts it for each. Standard library only.

With ``hold`` it is the container's first process instead, which waits. A command is started with nothing of ours open,
and may write what it likes into its own answer; who asked bounds that answer and the time again.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

WORK = "/tmp"  # noqa: S108  # in the pod
PATHS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MAXIMUM_REQUEST = 40_000_000
MAXIMUM_ENTRIES = 10_000
PROBE_SECONDS = 1.0
ROUNDS = 200


class RefusedError(Exception):
    """What was asked cannot be done; the message is for whoever asked."""


class Tail:
    """The end of a stream, and whether more came before."""

    def __init__(self, stream: Any, limit: int) -> None:
        self.data = bytearray()
        self.cut = False
        self._stream = stream
        self._limit = limit
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while more := os.read(self._stream.fileno(), 65_536):
            self.data += more
            if len(self.data) > self._limit:
                del self.data[: len(self.data) - self._limit]
                self.cut = True

    def join(self) -> None:
        """Wait for its end, which comes when nobody holds the stream any more."""
        self._thread.join(5.0)
        self.cut = self.cut or self._thread.is_alive()


def end_others(reap: Callable[[], object] = lambda: None) -> None:
    """End every process of the container but the first and this one.

    :param reap: Waits for those that nobody else waits for, if they have ended.
    :raises RefusedError: The first process is none of ours: this is no sandbox.
    """
    with open("/proc/1/cmdline", "rb") as file:
        if b"command.py\0hold" not in file.read():
            raise RefusedError("the container's first process must be ours")
    for _ in range(ROUNDS):
        try:
            os.kill(-1, signal.SIGKILL)
        except ProcessLookupError:
            return
        time.sleep(0.01)
        reap()


def run(asked: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
    """Run a command through a shell. Nothing that it starts outlives it."""
    end_others()
    environment = {"PATH": PATHS, "HOME": WORK, "LANG": "C.UTF-8", **asked["env"]}
    process = subprocess.Popen(
        ["sh", "-c", asked["command"]], cwd=WORK, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True, preexec_fn=lambda: confine(int(asked["file_size"])),
    )  # fmt: skip
    tails = [Tail(stream, int(asked["limit"])) for stream in (process.stdout, process.stderr)]
    timed_out = False
    try:
        process.wait(float(asked["timeout"]))
    except subprocess.TimeoutExpired:
        timed_out = True
    end_others(process.poll)
    code = process.wait()
    for tail in tails:
        tail.join()
    out, err = tails
    answer = {"exit_code": code if code >= 0 else 128 - code, "timed_out": timed_out, "out": len(out.data),
              "out_cut": out.cut, "err_cut": err.cut}  # fmt: skip
    return answer, bytes(out.data + err.data)


def confine(file_size: int) -> None:
    """Bound what a command writes at once, and have the kernel end it before the container's first process."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def read(asked: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
    """Read a regular file of at most so many bytes."""
    limit = int(asked["limit"])
    descriptor = os.open(os.path.join(WORK, asked["path"]), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb", buffering=0) as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise RefusedError("it is no regular file")
        data = b""
        while len(data) <= limit and (more := file.read(limit + 1 - len(data))):
            data += more
    if len(data) > limit:
        return {"too_large": max(about.st_size, len(data))}, b""
    return {}, data


def write(asked: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
    """Write a file, with the folders above it."""
    path = os.path.join(WORK, asked["path"])
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(payload)
    return {}, b""


def entries(asked: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
    """List a folder: names, and which of them are folders."""
    found: list[tuple[str, bool]] = []
    with os.scandir(os.path.join(WORK, asked["path"])) as folder:
        for entry in folder:
            if len(found) == MAXIMUM_ENTRIES:
                raise RefusedError(f"it has more than {MAXIMUM_ENTRIES:,} entries; list a folder in it")
            name = entry.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
            found.append((name, entry.is_dir(follow_symlinks=False)))
    return {}, json.dumps(sorted(found)).encode()


def probe(asked: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
    """Try to reach the cluster's API server, which every pod could if nothing kept it from that."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], int(os.environ["KUBERNETES_SERVICE_PORT"])
    try:
        socket.create_connection((host, port), PROBE_SECONDS).close()
    except OSError:
        return {"reached": False}, b""
    return {"reached": True}, b""


OPERATIONS = {"run": run, "read": read, "write": write, "list": entries, "probe": probe}


def serve() -> None:
    """Do what is asked on standard input: a line of JSON, and as many bytes as it says."""
    asked = json.loads(sys.stdin.buffer.readline(MAXIMUM_REQUEST))
    payload = sys.stdin.buffer.read(int(asked["size"]))
    try:
        answer, data = OPERATIONS[asked["op"]](asked, payload)
    except RefusedError as refusal:
        answer, data = {"refused": str(refusal)}, b""
    except OSError as error:
        answer, data = {"refused": error.strerror or type(error).__name__}, b""
    except ValueError:
        answer, data = {"refused": "it holds a character that cannot be passed on"}, b""
    sys.stdout.buffer.write(json.dumps({**answer, "size": len(data)}).encode() + b"\n" + data)
    sys.stdout.buffer.flush()
    # Whoever asked closes the connection; the end of this process must not come before the last byte is out.
    sys.stdin.buffer.read(1)


def hold() -> None:
    """Wait for the container's end, and for the end of processes that nobody else waits for."""
    awaited = {signal.SIGCHLD, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    while signal.sigwait(awaited) != signal.SIGTERM:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


if __name__ == "__main__":
    hold() if sys.argv[1:] == ["hold"] else serve()
