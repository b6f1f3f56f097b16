"""The keeper: a small program between a worker and tenant code. Standard library only, run with ``-I -S``.

It is a warm interpreter that forks for each step, so that a step's state and damage stay in its fork. It speaks frames
with the worker on its standard input and output (a line of JSON, then as many bytes as that names), and gives the fork
neither of them: what it reads from step k's pipe while k runs is k's result, and before the next step begins every
process of k is gone. It ends when the worker does.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO, NoReturn

from operators.sandbox import python_step
from operators.sandbox.confinement import (
    SCRATCH,
    Confinement,
    be_killed_first,
    become,
    enter_namespaces,
    hide_from_steps,
    limit,
    own_uid,
    private_scratch,
    show_own_processes,
)
from operators.sandbox.folders import remove
from operators.sandbox.processes import become_subreaper, descendants, die_with_parent, signal_all
from operators.sandbox.watch import Ended, Watch, memory_of

WARM = ("base64", "collections", "datetime", "decimal", "functools", "hashlib", "itertools", "math", "random", "re",
        "statistics", "string", "textwrap", "urllib.parse", "uuid")  # fmt: skip
"""Loaded once instead of by each step that uses them."""
KILOBYTE = 1024
End = tuple[int, int]
"""How a process ended: its wait status, and the most memory it had at once, in bytes."""
NO_END: End = (0, 0)


def main(root: str, network: bool, namespaces: bool) -> None:
    """Serve until the worker closes our input.

    :param root: The folder our own modules came from; steps are not to import from it.
    :param namespaces: Whether to use them where that is possible.
    """
    caller = os.getppid()
    die_with_parent(signal.SIGTERM)
    if os.getppid() != caller:
        return
    sys.path = [folder for folder in sys.path if folder != root and os.path.isdir(folder)]
    for name in WARM:
        __import__(name)
    uid = own_uid()
    left = enter_namespaces(network=network, user=uid is None) if namespaces else ()
    if left:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        inner = os.fork()
        if inner:
            _await_namespace(inner)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        die_with_parent(signal.SIGKILL)
        show_own_processes()
    else:
        become_subreaper()
        signal.signal(signal.SIGTERM, _stop)
    hide_from_steps()
    keeper = Keeper(Confinement(uid, left))
    with contextlib.suppress(Ended, BrokenPipeError):
        keeper.serve()
    keeper.end_steps()


def _await_namespace(first: int) -> NoReturn:
    """Wait for the end of the first process of a pid namespace, which is the end of all in it; SIGTERM brings it."""
    os.close(0)
    os.close(1)
    signal.signal(signal.SIGTERM, lambda number, frame: os.kill(first, signal.SIGKILL))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    _, status = os.waitpid(first, 0)
    os._exit(0 if status == 0 else 1)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    # Once: a second one must not break off the end that the first has begun.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Ended


class Keeper:
    """Runs steps one after the other."""

    def __init__(self, confinement: Confinement) -> None:
        self._confinement = confinement
        self._pid = os.getpid()
        self._input: BinaryIO = os.fdopen(0, "rb", closefd=False)
        self._output: BinaryIO = os.fdopen(1, "wb", closefd=False)
        self._node_source = (Path(__file__).parent / "node_step.js").read_text()
        # Where a step's user cannot go to the library by its path, it can by these.
        self._library = [os.open(folder, os.O_PATH | os.O_DIRECTORY) for folder in sys.path]
        self._sees_processes = os.readlink("/proc/self") == str(os.getpid())
        self._ends: dict[int, End] = {}

    def serve(self) -> None:
        """Answer the worker's requests.

        :raises Ended: There will be no more.
        """
        shown = {"uid": self._confinement.uid, "namespaces": self._confinement.namespaces}
        self._send(shown, b"")
        while True:
            line = self._input.readline()
            if not line:
                raise Ended
            request = json.loads(line)
            payload = self._input.read(request["size"])
            answer, result = self._run(request, payload)
            self._send(answer, result)

    def _send(self, answer: dict[str, Any], result: bytes | bytearray) -> None:
        self._output.write(json.dumps({**answer, "size": len(result)}).encode() + b"\n")
        # Of its own: a result may be most of the memory that we have.
        self._output.write(result)
        self._output.flush()

    def _run(self, request: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytearray]:
        """Run one step to its end; leave no process and no file of it."""
        self._ends.clear()
        results, result = os.pipe()
        prints, printed = os.pipe()
        folder = self._folder()
        try:
            pid = os.fork()
            if pid == 0:
                self._become_step(request, payload, result, printed, folder)
            os.close(result)
            os.close(printed)
            watch = Watch(self._usage, request, pid, results, prints, folder)
            try:
                reason = watch.until_end()
            finally:
                self.end_steps()
            watch.drain()
            return watch.answer(reason, *self._ends.pop(pid, NO_END)), watch.result
        finally:
            os.close(results)
            os.close(prints)
            if folder is not None:
                remove(folder)

    def _folder(self) -> str | None:
        """Make a step's folder, where it does not get a file system of its own."""
        if "mount" in self._confinement.namespaces:
            return None
        folder = tempfile.mkdtemp(prefix="agent-factory-step-")
        if self._confinement.uid is not None:
            os.chown(folder, self._confinement.uid, self._confinement.uid)
        return folder

    def _become_step(
        self, request: dict[str, Any], payload: bytes, result: int, printed: int, folder: str | None
    ) -> NoReturn:
        """Turn the fork into the step's process. Never returns to the keeper's loop."""
        begun = False
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.setsid()
            is_node = request["language"] == "javascript"
            given = os.memfd_create("input")
            if is_node:
                os.write(given, payload)
                os.lseek(given, 0, os.SEEK_SET)
            else:
                os.dup2(os.open(os.devnull, os.O_RDONLY), given)
            library = self._arrange(given, printed, result)
            if folder is None and not private_scratch(request["storage"]):
                raise OSError("no private file system could be made")
            os.chdir(folder or SCRATCH[0])
            os.umask(0o077)
            os.environ.clear()
            sys.argv = [""]
            be_killed_first()
            limit(
                cpu_seconds=request["cpu_seconds"],
                memory=request["memory"],
                file_size=request["storage"],
                counts_data=is_node,
            )
            become(self._confinement, self._pid)
            if is_node:
                self._run_node(request)
            else:
                _reach_library(library)
                for name in [name for name in sys.modules if name.partition(".")[0] == "operators"]:
                    del sys.modules[name]
                job = json.loads(payload)
                sys.stdout.reconfigure(line_buffering=True, errors="replace")  # type: ignore[union-attr]
                begun = True
                python_step.run(job["code"], job["input"], 3)
        except BaseException as error:
            with contextlib.suppress(BaseException):
                if begun:
                    os._exit(1)
                os.write(3, b"S" + f"{type(error).__name__}: {error}"[:200].encode())
        os._exit(125)

    def _arrange(self, given: int, printed: int, result: int) -> list[int]:
        """Leave the step its input, its prints, its result (descriptor 3) and, for Python, the library's folders."""
        high = [os.dup(descriptor) for descriptor in (given, printed, result, *self._library)]
        spare = max(high) + 1
        for offset, descriptor in enumerate(high):
            os.dup2(descriptor, spare + offset)
        for target, source in ((0, 0), (1, 1), (2, 1), (3, 2)):
            os.dup2(spare + source, target)
        library = []
        for offset in range(len(self._library)):
            os.dup2(spare + 3 + offset, 4 + offset, inheritable=False)
            library.append(4 + offset)
        os.closerange(4 + len(library), spare + len(high))
        return library

    def _run_node(self, request: dict[str, Any]) -> None:
        heap = max(16, request["memory"] // 1_048_576)
        options = [f"--max-old-space-size={heap}", "--no-warnings", "-e", self._node_source]
        try:
            os.execve(request["node"], ["node", *options], {})  # noqa: S606  # no shell is wanted
        except OSError as error:
            message = f"this machine must have Node.js for JavaScript; it could not be started: {error.strerror}"
            os.write(3, b"E" + json.dumps({"code": "language_unavailable", "message": message}).encode())
            os._exit(0)

    def end_steps(self) -> None:
        """Kill every process below us, and return when none is left."""
        while True:
            # Without a pid namespace of our own this would be every process of the machine.
            if self._confinement.own_processes and os.getpid() == 1:
                with contextlib.suppress(ProcessLookupError):
                    # All of our pid namespace but us, its first process.
                    os.kill(-1, signal.SIGKILL)
            else:
                self._kill_descendants()
            if not self._reap():
                return
            time.sleep(0.001)

    def _kill_descendants(self) -> None:
        """Stop all before killing any, so that none can fork away."""
        stopped: set[int] = set()
        while found := set(descendants(os.getpid())) - stopped:
            signal_all(list(found), signal.SIGSTOP)
            stopped |= found
        signal_all(list(stopped), signal.SIGKILL)

    def _reap(self) -> bool:
        """Note which children have ended; tell whether any is left."""
        try:
            while True:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
                if pid == 0:
                    return True
                self._ends[pid] = status, usage.ru_maxrss * KILOBYTE
        except ChildProcessError:
            return False

    def _usage(self) -> tuple[int, int]:
        """Return how many processes the step has, and the bytes of memory they have together."""
        if not self._sees_processes:
            return 0, 0
        if self._confinement.own_processes:
            pids = [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]
        else:
            pids = descendants(os.getpid())
        # A fork still shares what it began with.
        begun = memory_of(os.getpid())
        return len(pids), sum(max(0, memory_of(pid) - begun) for pid in pids)


def _reach_library(descriptors: list[int]) -> None:
    """Let a step import the standard library, also where its user may not enter the folder it lies in."""
    if os.access(os.__file__, os.R_OK):
        for descriptor in descriptors:
            os.close(descriptor)
        return
    here = [f"/proc/self/fd/{descriptor}" for descriptor in descriptors]
    # Longest first: the folder of extension modules lies inside of the library's.
    moved = sorted(zip(sys.path, here, strict=True), key=lambda pair: -len(pair[0]))
    for module in list(sys.modules.values()):
        if isinstance(getattr(module, "__path__", None), list):
            module.__path__ = [_moved(path, moved) for path in module.__path__]
    sys.path = here
    sys.path_importer_cache.clear()


def _moved(path: str, moved: list[tuple[str, str]]) -> str:
    for before, after in moved:
        if path.startswith(before + "/"):
            return after + path[len(before) :]
    return path


if __name__ == "__main__":
    raise SystemExit("the keeper is started by operators.sandbox.sandbox")
