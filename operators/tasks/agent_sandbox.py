"""Our pods as the sandbox of Airflow's AI provider, for agents whose code nobody has read. Needs the extra ``agents``.

See ``docs/sandbox.md``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from airflow.providers.common.ai.sandbox import (
    SandboxBackend,
    SandboxError,
    SandboxExecResult,
    SandboxFileTooLargeError,
    SandboxSpec,
    SandboxTerminalError,
)

from operators.pods.cluster import ClusterError
from operators.pods.sandbox import PodSandboxes, SandboxFailedError, TooLargeError

_opening = threading.Lock()
"""Of all backends: Airflow copies tasks with all that they hold, and a lock cannot be copied."""


class PodSandboxBackend(SandboxBackend):
    """Runs an agent's commands in hardened pods of its organisation's namespace.

    It cannot be attached to from another task, and opens the network wholly or not at all: what else a spec asks for is
    refused. Without a network a sandbox is used only once it was seen that it cannot go out.

    :param open_sandboxes: Returns what makes the sandboxes; called once, when the first is needed.
    """

    name = "agent-factory-pods"

    def __init__(self, open_sandboxes: Callable[[], PodSandboxes]) -> None:
        self._open = open_sandboxes
        self._sandboxes: PodSandboxes | None = None

    def create(self, *, spec: SandboxSpec | None = None) -> str:
        """Start a sandbox; without a spec it is isolated too.

        :raises SandboxTerminalError: It cannot be had as asked.
        """
        asked = spec or SandboxSpec()
        _refuse(asked)
        made: str = _translated(
            lambda: self._opened().create(network="none" if asked.block_network else "egress", env=asked.env),
            terminal=True,
        )
        return made

    def run_command(self, sandbox: str, command: str, *, timeout: float, max_output_bytes: int) -> SandboxExecResult:
        """Run a command through a shell; nothing that it starts outlives it."""
        result = _translated(
            lambda: self._opened().run(sandbox, command, timeout=timeout, max_output_bytes=max_output_bytes)
        )
        return SandboxExecResult(
            exit_code=result.exit_code,
            stdout=result.stdout.decode("utf-8", "replace"),
            stderr=result.stderr.decode("utf-8", "replace"),
            timed_out=result.timed_out,
            stdout_truncated=result.stdout_cut,
            stderr_truncated=result.stderr_cut,
            sandbox_terminated=result.ended_sandbox,
        )

    def read_file(self, sandbox: str, path: str, *, max_bytes: int) -> bytes:
        """Return a regular file.

        :raises SandboxFileTooLargeError: It is larger than asked for.
        """
        try:
            data: bytes = _translated(lambda: self._opened().read(sandbox, path, max_bytes=max_bytes), path)
        except TooLargeError as error:
            raise SandboxFileTooLargeError(path, error.size, max_bytes) from None
        return data

    def write_file(self, sandbox: str, path: str, content: bytes) -> None:
        """Write a file, with the folders above it."""
        _translated(lambda: self._opened().write(sandbox, path, content), path)

    def list_directory(self, sandbox: str, path: str) -> list[tuple[str, bool]]:
        """Return the names in a folder, and which of them are folders."""
        entries: list[tuple[str, bool]] = _translated(lambda: self._opened().entries(sandbox, path), path)
        return entries

    def destroy(self, sandbox: str) -> None:
        """Remove a sandbox; harmless where it is gone."""
        _translated(lambda: self._opened().destroy(sandbox))

    def _opened(self) -> PodSandboxes:
        with _opening:
            if self._sandboxes is None:
                self._sandboxes = self._open()
            return self._sandboxes


def _refuse(spec: SandboxSpec) -> None:
    """Refuse what nobody here could enforce.

    :raises SandboxTerminalError: The spec asks for it.
    """
    if spec.owner is not None:
        raise SandboxTerminalError("`owner` must be left out; no other task can attach to a sandbox in a pod")
    if spec.allow_egress_to or spec.allow_egress_to_cidrs:
        rule = "`allow_egress_to` and `allow_egress_to_cidrs` must be left out"
        why = "a pod has no network, or what AGENT_FACTORY_POD_EGRESS lets it reach (block_network=False)"
        raise SandboxTerminalError(f"{rule}; {why}")


def _translated(call: Callable[[], Any], path: str = "", *, terminal: bool = False) -> Any:
    """Make a call; raise what the provider knows."""
    try:
        return call()
    except TooLargeError:
        raise
    except SandboxFailedError as failure:
        message = f"{path!r}: {failure}" if path and not failure.terminal else str(failure)
        kind = SandboxTerminalError if terminal or failure.terminal else SandboxError
        raise kind(message) from None
    except ClusterError as error:
        raise SandboxTerminalError(str(error)) from None
