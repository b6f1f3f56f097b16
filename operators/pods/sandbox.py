"""Sandboxes of agents: a hardened pod in which model-written commands run, one after the other. Free of Airflow.

A sandbox is of one execution. Its pod has no steward: no result of a step is fetched from it, and what a command says
about itself is believed by nobody but the model that wrote it.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from secrets import token_hex
from typing import Any, Literal

from compiler.images import image_refusal
from compiler.plan import Limits, Network, Pod
from operators.execution.records import PodSettings
from operators.pods.cluster import Cluster, ClusterError, Stream, StreamClosedError
from operators.pods.failures import PodFailedError, look_at
from operators.pods.inside import receive
from operators.pods.spec import BASE, GIVEN, LABEL, MANAGER, PYTHON, Brought, Program, build_pod, unit_labels

SANDBOX = LABEL + "sandbox"
"""Label of a sandbox's pod."""
LIFETIME_SECONDS = 3600.0
SLACK_SECONDS = 15.0
"""How much longer than a command's time-out its answer may take, before the sandbox is given up."""
FILE_SECONDS = 60.0
WRITE_LIMIT = 16_000_000
LOOK_SECONDS = 0.1
END_SECONDS = 5.0
"""After which a container that has ended is known to have."""
BLOCKED_SECONDS = 15.0
"""How long the cluster's network may take until it keeps a new pod from going out."""
_HOLD = Program(command=(*PYTHON, f"{GIVEN}/command.py", "hold"))

NetworkPolicies = Literal["tried", "declared"]
"""How it is known that the cluster enforces network policies: each sandbox tries it, or the operator says so."""


class SandboxFailedError(Exception):
    """A sandbox, or something in it, cannot be used.

    :param terminal: Whether nothing that the model does helps.
    """

    def __init__(self, message: str, *, terminal: bool) -> None:
        super().__init__(message)
        self.terminal = terminal


class TooLargeError(SandboxFailedError):
    """A file is larger than asked for."""

    def __init__(self, size: int) -> None:
        super().__init__(f"it has {size:,} bytes", terminal=False)
        self.size = size


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What became of a command.

    :param exit_code: 128 and the signal where one ended it, as shells have it.
    :param ended_sandbox: Whether the sandbox is gone.
    """

    exit_code: int
    stdout: bytes = b""
    stderr: bytes = b""
    timed_out: bool = False
    stdout_cut: bool = False
    stderr_cut: bool = False
    ended_sandbox: bool = False


@dataclass
class PodSandboxes:
    """Makes and uses the sandboxes of one unit of one execution. Its methods block; threads may share it.

    :param cluster: The organisation's namespace, with the rights of its service account.
    :param settings: How the organisation's pods are made.
    :param image: It needs ``python3`` and ``sh``.
    :param lifetime_seconds: When the node ends a sandbox, whatever became of its maker.
    :param network_policies: With ``declared``, no sandbox tries whether it is kept from going out.
    """

    cluster: Cluster
    settings: PodSettings
    execution_id: str
    unit: str
    image: str
    limits: Limits
    lifetime_seconds: float = LIFETIME_SECONDS
    network_policies: NetworkPolicies = "tried"
    _locks: dict[str, threading.Lock] = field(default_factory=dict)
    _env: dict[str, dict[str, str]] = field(default_factory=dict)

    def create(self, *, network: Network = "none", env: Mapping[str, str] | None = None) -> str:
        """Start a sandbox and return its name, once it can be used.

        :param env: Of every command. It is given to each, so that Kubernetes does not have it.
        :raises SandboxFailedError: It cannot be had as asked; nothing is left of it.
        """
        refusal = image_refusal(self.image, self.settings.images, digests=self.settings.digests)
        if refusal is not None:
            raise SandboxFailedError(f"image {self.image!r} {refusal}", terminal=True)
        name = f"af-sandbox-{token_hex(12)}"
        labels = {**MANAGER, **unit_labels(self.execution_id, self.unit), LABEL + "network": network, SANDBOX: "agent"}
        pod = Pod(image=self.image, network=network, limits=self.limits, timeout_seconds=self.lifetime_seconds)
        brought = Brought(receive.carried({"command.py": _program()}), None)
        try:
            self.cluster.create(
                build_pod(name, labels, pod, _HOLD, self.settings, self.lifetime_seconds, brought=brought)
            )
            self._await_start(name)
            self._locks[name], self._env[name] = threading.Lock(), dict(env or {})
            if network == "none" and self.network_policies == "tried":
                self._refuse_open_network(name)
        except BaseException as error:
            with contextlib.suppress(ClusterError):
                self.destroy(name)
            if isinstance(error, PodFailedError | ClusterError):
                raise SandboxFailedError(f"the sandbox did not start: {error}", terminal=True) from None
            raise
        return name

    def run(self, name: str, command: str, *, timeout: float, max_output_bytes: int) -> CommandResult:
        """Run a command through a shell; nothing that it starts outlives it.

        :param timeout: Seconds.
        :param max_output_bytes: How much of the end of each of its two outputs is kept.
        :raises SandboxFailedError: The sandbox is gone.
        """
        asked = {
            "op": "run", "command": command, "timeout": timeout, "limit": max_output_bytes, "env": self._env.get(name),
            "file_size": self.limits.ephemeral_storage_bytes,
        }  # fmt: skip
        with self._held(name):
            began = time.monotonic()
            try:
                answer, data = self._ask(name, asked, b"", 2 * max_output_bytes, timeout + SLACK_SECONDS)
            except StreamClosedError:
                return self._why_no_answer(name, time.monotonic() - began >= timeout + SLACK_SECONDS)
        try:
            out = min(max(0, int(answer["out"])), len(data))
            return CommandResult(
                int(answer["exit_code"]), data[:out], data[out:], bool(answer["timed_out"]), bool(answer["out_cut"]),
                bool(answer["err_cut"]),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError):
            raise _nonsense() from None

    def read(self, name: str, path: str, *, max_bytes: int) -> bytes:
        """Return a regular file.

        :raises TooLargeError: It has more bytes than asked for.
        :raises SandboxFailedError: There is none, or the sandbox is gone.
        """
        answer, data = self._ask_of_file(name, {"op": "read", "path": path, "limit": max_bytes}, limit=max_bytes)
        if "too_large" in answer:
            raise TooLargeError(int(answer["too_large"]))
        return data

    def write(self, name: str, path: str, content: bytes) -> None:
        """Write a file, with the folders above it.

        :raises SandboxFailedError: It cannot be written, or the sandbox is gone.
        """
        if len(content) > WRITE_LIMIT:
            rule = f"a file must have at most {WRITE_LIMIT:,} bytes to be written; got {len(content):,}"
            raise SandboxFailedError(rule, terminal=False)
        self._ask_of_file(name, {"op": "write", "path": path}, content)

    def entries(self, name: str, path: str) -> list[tuple[str, bool]]:
        """Return the names in a folder, and which of them are folders.

        :raises SandboxFailedError: There is none, or the sandbox is gone.
        """
        _, data = self._ask_of_file(name, {"op": "list", "path": path}, limit=4_000_000)
        try:
            return [(str(entry), bool(is_folder)) for entry, is_folder in json.loads(data)]
        except (TypeError, ValueError):
            raise _nonsense() from None

    def destroy(self, name: str) -> None:
        """Remove a sandbox; harmless where it is gone, or none."""
        pod = self.cluster.get(name)
        if pod is not None and SANDBOX in (pod.metadata.labels or {}):
            self.cluster.delete(name)
        self._env.pop(name, None)

    def _await_start(self, name: str) -> None:
        began = time.monotonic()
        while True:
            pod = self.cluster.get(name)
            if pod is None:
                raise PodFailedError("node_lost", "the pod must stay; it was deleted", retryable=True)
            phase = look_at(pod, waited=time.monotonic() - began, start_seconds=self.settings.start_seconds)
            if phase == "running":
                return
            if phase == "ended":
                raise PodFailedError("exit_code", "the image must run our program; it ended", retryable=False)
            time.sleep(LOOK_SECONDS)

    def _refuse_open_network(self, name: str) -> None:
        """Check that the sandbox cannot go out: a network policy is only an object where nothing enforces it.

        :raises SandboxFailedError: It can.
        """
        end = time.monotonic() + BLOCKED_SECONDS
        while time.monotonic() < end:
            answer, _ = self._ask_of_file(name, {"op": "probe"})
            if answer.get("reached") is False:
                return
            time.sleep(LOOK_SECONDS)
        rule = (
            "the cluster must keep a sandbox without a network from going out; this one reached the API server. Give "
            "the cluster a network plug-in that enforces NetworkPolicy, or ask for a sandbox with a network"
        )
        raise SandboxFailedError(rule, terminal=True)

    def _ask_of_file(
        self, name: str, asked: dict[str, Any], payload: bytes = b"", *, limit: int = 0
    ) -> tuple[dict[str, Any], bytes]:
        with self._held(name):
            try:
                answer, data = self._ask(name, asked, payload, limit, FILE_SECONDS)
            except StreamClosedError as error:
                self._refuse_ended(name)
                raise SandboxFailedError(f"the sandbox did not answer: {error}", terminal=False) from None
        return answer, data

    def _ask(
        self, name: str, asked: dict[str, Any], payload: bytes, limit: int, seconds: float
    ) -> tuple[dict[str, Any], bytes]:
        """Have the sandbox's program do something; nothing it answers is longer than asked for.

        :raises StreamClosedError: It gave no answer.
        """
        stream = self.cluster.open(name, BASE, [*PYTHON, f"{GIVEN}/command.py"], limit=limit + 65_536)
        try:
            stream.send(json.dumps({**asked, "size": len(payload)}).encode() + b"\n" + payload)
            answer, size = _header(stream, seconds)
            if not 0 <= size <= limit:
                raise _nonsense()
            data = stream.read(size, FILE_SECONDS)
        finally:
            stream.close()
        if "refused" in answer:
            raise SandboxFailedError(str(answer["refused"])[:400], terminal=False)
        return answer, data

    def _why_no_answer(self, name: str, timed_out: bool) -> CommandResult:
        """Say what became of a command that took its sandbox along, or the program that ran it."""
        if timed_out:
            self.destroy(name)
            return CommandResult(137, b"", b"the command did not end in time", timed_out=True, ended_sandbox=True)
        try:
            self._refuse_ended(name)
        except SandboxFailedError as failure:
            self.destroy(name)
            return CommandResult(137, b"", str(failure).encode(), ended_sandbox=True)
        return CommandResult(137, b"", b"the command was killed, or ended the program that ran it")

    def _refuse_ended(self, name: str) -> None:
        """Look whether the container still runs; its end is told a moment later.

        :raises SandboxFailedError: It does not.
        """
        end = time.monotonic() + END_SECONDS
        while True:
            pod = self.cluster.get(name)
            if pod is None or pod.metadata.deletion_timestamp is not None:
                raise SandboxFailedError("the sandbox is gone", terminal=True)
            try:
                phase = look_at(pod, waited=0.0, start_seconds=self.settings.start_seconds)
            except PodFailedError as failure:
                raise SandboxFailedError(f"the sandbox has ended: {failure.message}", terminal=True) from None
            if phase == "ended":
                raise SandboxFailedError("the sandbox has ended", terminal=True)
            if time.monotonic() > end:
                return
            time.sleep(LOOK_SECONDS)

    def _held(self, name: str) -> threading.Lock:
        """Return the lock of a sandbox: a command ends what others have started."""
        lock = self._locks.get(name)
        if lock is None:
            raise SandboxFailedError(f"{name!r} must be a sandbox of this execution; it is none", terminal=True)
        return lock


def _header(stream: Stream, seconds: float) -> tuple[dict[str, Any], int]:
    try:
        answer: dict[str, Any] = json.loads(stream.read_line(seconds))
        return answer, int(answer["size"])
    except (KeyError, TypeError, ValueError, RecursionError):
        raise _nonsense() from None


def _nonsense() -> SandboxFailedError:
    return SandboxFailedError("the sandbox answered nonsense; a command may have written it", terminal=False)


@lru_cache(maxsize=1)
def _program() -> str:
    return (Path(__file__).parent / "inside" / "command.py").read_text()
