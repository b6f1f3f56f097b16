"""The steward: a trusted program in a container of its own, beside the tenant's. Standard library only.

It takes jobs from the platform (by ``exec``, never from the tenant), hands them one after the other to the program in
the tenant's container, and keeps each result in a file of its own, in a folder that the tenant's container does not
have. So whoever looks later, a restarted worker too, finds what is finished. Requests and results are larger than our
memory: they go through it in pieces, and wait in files.

The tenant's container reaches it by one connection: the first, made before any code of the tenant's runs. After that
nobody can connect, so no step can speak for another.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import select
import signal
import socket
import stat
import sys
import threading
import time
from typing import Any

GIVEN = "/agent-factory/given"
STATE = "/agent-factory/state"
RESULTS = "/agent-factory/results"
KEEPER_SOCKET = GIVEN + "/keeper.sock"
CLIENT_SOCKET = STATE + "/steward.sock"
MAXIMUM_LINE = 65_536
SPARE = 100_000
"""Bytes that an answer may have beyond the largest result: failures are told in words."""
KEPT_LIMIT = 240_000_000
"""Bytes of the results of all jobs together: the folder that keeps them has 256 MiB."""
REQUEST_LIMIT = 64_000_000
QUEUE_LIMIT = 80_000_000
"""Bytes of all requests that wait: the folder has so much beside the results."""
CHUNK = 262_144
GRACE_SECONDS = 10.0
"""How much longer than a step's time-out its answer may take: who keeps the time itself is in the other container."""
JOB_ID = re.compile(r"[0-9a-f]{1,64}\Z")


class BrokenError(Exception):
    """The other side is gone or does not keep to the protocol."""


def read_line(stream: Any) -> dict[str, Any]:
    """Read a JSON object on a line of its own."""
    line = stream.readline(MAXIMUM_LINE)
    if not line.endswith(b"\n"):
        raise BrokenError("no whole line")
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise BrokenError("no JSON") from None
    if not isinstance(value, dict):
        raise BrokenError("no object")
    return value


def checked(size: Any, limit: int) -> int:
    """Return a size that the other side has named, if it is one."""
    if type(size) is not int or not 0 <= size <= limit:
        raise BrokenError("no such size")
    return size


def copy(source: Any, target: Any, size: Any, limit: int) -> None:
    """Hand so many bytes on; to nobody where there is no target."""
    left = checked(size, limit)
    while left:
        data = source.read(min(CHUNK, left))
        if not data:
            raise BrokenError("not all bytes")
        left -= len(data)
        if target is not None:
            target.write(data)


class Steward:
    """Jobs and their results."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._states: dict[str, str] = {}
        self._began: dict[str, float] = {}
        self._ended: dict[str, float] = {}
        self._queue: list[tuple[str, str]] = []
        self._queued = 0
        self._numbers = itertools.count()
        self._greeting: dict[str, Any] | None = None
        self._kept = 0
        self.broken = ""
        self._lost = ""

    def submit(self, job: str, stream: Any, size: Any) -> None:
        """Take a job, whose request is read from a stream; one that is known already is left as it is, and one that
        there is no room for is not taken."""
        size = checked(size, REQUEST_LIMIT)
        with self._changed:
            if self.broken:
                self._states.setdefault(job, "unbegun")
            is_wanted = job not in self._states and self._queued + size <= QUEUE_LIMIT
            self._queued += size if is_wanted else 0
        if not is_wanted:
            copy(stream, None, size, size)
            return
        path = f"{STATE}/{job}.{next(self._numbers)}.request"
        try:
            with open(path, "wb") as file:
                copy(stream, file, size, size)
        except BaseException:
            self.discard(path, size)
            raise
        if not self._enqueue(job, path):
            self.discard(path, size)

    def _enqueue(self, job: str, path: str) -> bool:
        """Have a job wait for its turn; tell whether its request is still needed."""
        with self._changed:
            is_first = job not in self._states
            if is_first:
                self._states[job] = "unbegun" if self.broken else "queued"
                say(f"took {job}")
                self._changed.notify_all()
            if is_first and not self.broken:
                self._queue.append((job, path))
                return True
        return False

    def discard(self, path: str, size: int) -> None:
        """Remove a request that nobody needs any more."""
        with contextlib.suppress(OSError):
            os.unlink(path)
        with self._changed:
            self._queued -= size

    def end_unused(self) -> None:
        """End this container, and so the pod, where no job ever came: nobody keeps the warm pod any more."""
        with self._changed:
            if not self._states:
                os._exit(0)

    def wait(self, job: str, seconds: float) -> dict[str, Any]:
        """Return how a job stands, once it is over or so many seconds have passed."""
        end = time.monotonic() + seconds
        with self._changed:
            while self._states.get(job) in ("queued", "running") and time.monotonic() < end:
                self._changed.wait(max(0.0, end - time.monotonic()))
            began = self._began.get(job)
            passed = time.monotonic() - began if began is not None else 0.0
            age = time.monotonic() - self._ended.get(job, time.monotonic())
            return {"state": self._states.get(job, "unknown"), "seconds": passed, "age": age, "lost": self._lost}

    def greeted(self, greeting: dict[str, Any]) -> None:
        """Note that the tenant's container is ready."""
        with self._changed:
            self._greeting = greeting
            self._changed.notify_all()

    def await_greeting(self, seconds: float) -> dict[str, Any]:
        """Tell whether the tenant's container is ready, at the latest after so many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._greeting is not None or bool(self.broken), seconds)
            return {"ready": self._greeting is not None, "broken": self.broken}

    def take(self) -> tuple[str, str]:
        """Return the next job and the file of its request, once there is one."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._queue))
            job, path = self._queue.pop(0)
            self._states[job] = "running"
            self._began[job] = time.monotonic()
            return job, path

    def finish(self, job: str, answer: dict[str, Any], stream: Any, limit: int) -> None:
        """Keep a result, which is read from a stream: a file that is whole or not there."""
        path = f"{STATE}/{job}"
        answer = dict(answer, ran=time.monotonic() - self._began[job])
        size = answer.get("size")
        has_room = type(size) is int and self._kept + size <= KEPT_LIMIT
        if not has_room:
            answer["reason"] = "results_too_large"
        with open(path + ".part", "wb") as file:
            file.write(json.dumps(answer).encode() + b"\n")
            copy(stream, file if has_room else None, size, limit)
            self._kept += file.tell()
            file.flush()
            os.fsync(file.fileno())
        os.rename(path + ".part", path)
        with self._changed:
            self._states[job] = "done"
            self._ended[job] = time.monotonic()
            self._changed.notify_all()
        say(f"done {job}")

    def give_up(self, reason: str) -> None:
        """Note that the tenant's container does no job any more. What ran is lost; what waited has not begun, and can
        be done in another pod."""
        become = {"running": "lost", "queued": "unbegun"}
        with self._changed:
            self.broken = reason
            self._lost = next((job for job, state in self._states.items() if state == "running"), "")
            self._states = {job: become.get(state, state) for job, state in self._states.items()}
            self._queue.clear()
            self._changed.notify_all()
        say(f"lost {reason}")


def say(text: str) -> None:
    """Print a line to this container's log, where the platform waits for news; it holds nothing of the tenant's."""
    print(text, flush=True)


def serve_keeper(steward: Steward) -> None:
    """Hand jobs to the tenant's container until it is gone."""
    listener = socket.socket(socket.AF_UNIX)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(KEEPER_SOCKET)
    listener.bind(KEEPER_SOCKET)
    # The tenant's container has another user id and the same group.
    os.chmod(KEEPER_SOCKET, 0o660)
    listener.listen(1)
    connection, _ = listener.accept()
    os.unlink(KEEPER_SOCKET)
    listener.close()
    try:
        stream = connection.makefile("rwb")
        steward.greeted(read_line(stream))
        while True:
            # Beyond the jobs' own time-outs; without it a connection that closes while no job runs is not noticed.
            job, path = steward.take()
            run(steward, connection, stream, job, path)
    except (BrokenError, OSError, KeyError, TypeError, ValueError) as error:
        steward.give_up(type(error).__name__)


def run(steward: Steward, connection: socket.socket, stream: Any, job: str, path: str) -> None:
    """Have one job done."""
    with open(path, "rb") as request:
        size = os.fstat(request.fileno()).st_size
        line = request.readline(MAXIMUM_LINE)
        header = json.loads(line)
        connection.settimeout(float(header["timeout"]) + GRACE_SECONDS)
        stream.write(line)
        copy(request, stream, size - len(line), size)
    stream.flush()
    steward.discard(path, size)
    answer = read_line(stream)
    steward.finish(job, answer, stream, int(header["result_limit"]) + SPARE)


def serve_client(steward: Steward, connection: socket.socket) -> None:
    """Answer one connection of the platform."""
    with contextlib.suppress(BrokenError, OSError), connection, connection.makefile("rwb") as stream:
        while True:
            asked = read_line(stream)
            answer, file = reply(steward, asked, stream)
            with file or contextlib.nullcontext():
                size = os.fstat(file.fileno()).st_size if file else 0
                stream.write(json.dumps(dict(answer, size=size)).encode() + b"\n")
                copy(file, stream, size, size)
            stream.flush()


def reply(steward: Steward, asked: dict[str, Any], stream: Any) -> tuple[dict[str, Any], Any]:
    """Return the answer to a request of the platform, and the file that goes with it or None."""
    operation = asked.get("op")
    if operation == "ready":
        return steward.await_greeting(float(asked["seconds"])), None
    if operation == "take":
        return take_file(str(asked["name"]), limit=int(asked["limit"]))
    job = str(asked.get("job"))
    if not JOB_ID.match(job):
        raise BrokenError("no id of a job")
    if operation == "run":
        steward.submit(job, stream, asked.get("size"))
        return {}, None
    if operation != "wait":
        raise BrokenError("no such request")
    state = steward.wait(job, float(asked["seconds"]))
    if state["state"] != "done":
        return state, None
    return state, open(f"{STATE}/{job}", "rb")


def take_file(name: str, folder: str = RESULTS, *, limit: int) -> tuple[dict[str, Any], Any]:
    """Open a file that the tenant's container wrote, and nothing else: no link, no pipe, nothing that has no end."""
    try:
        descriptor = os.open(os.path.join(folder, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return {"state": "missing"}, None
    except OSError as error:
        return {"state": "refused", "reason": f"it cannot be opened ({error.strerror})"}, None
    answer = judge(os.fstat(descriptor), limit)
    if answer["state"] != "file":
        os.close(descriptor)
        return answer, None
    return answer, open(descriptor, "rb", buffering=0)


def judge(about: os.stat_result, limit: int) -> dict[str, Any]:
    """Tell whether a file may be handed out."""
    if not stat.S_ISREG(about.st_mode):
        return {"state": "refused", "reason": "it is no regular file"}
    if about.st_nlink != 1:
        return {"state": "refused", "reason": "it has other names (hard links)"}
    return {"state": "too_large"} if about.st_size > limit else {"state": "file"}


def main(idle_seconds: float | None) -> None:
    """Serve until the pod ends.

    :param idle_seconds: After which it ends where no job has come; None: it has one to wait for.
    """
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
    os.umask(0o077)
    steward = Steward()
    threading.Thread(target=serve_keeper, args=(steward,), daemon=True).start()
    if idle_seconds is not None:
        threading.Timer(idle_seconds, steward.end_unused).start()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(CLIENT_SOCKET)
    listener.listen(16)
    say("ready")
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve_client, args=(steward, connection), daemon=True).start()


def talk() -> None:
    """Connect our own input and output with the steward: what ``exec`` starts."""
    connection = socket.socket(socket.AF_UNIX)
    for _ in range(400):
        try:
            connection.connect(CLIENT_SOCKET)
            break
        except OSError:
            time.sleep(0.025)
    else:
        os._exit(1)
    there, here = connection.fileno(), 0
    while True:
        readable, _, _ = select.select([here, there], [], [])
        for source, target in ((here, there), (there, 1)):
            if source in readable:
                data = os.read(source, 65_536)
                if not data:
                    os._exit(0)
                while data:
                    data = data[os.write(target, data) :]


if __name__ == "__main__":
    talk() if sys.argv[1:] == ["talk"] else main(float(sys.argv[2]) if sys.argv[1:2] == ["idle"] else None)
