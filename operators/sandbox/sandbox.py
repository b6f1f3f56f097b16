"""The worker's side of the sandbox: starts keepers, gives them steps, reads what came of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson
from pydantic import JsonValue

from compiler.plan import Limits, Network
from operators.settings import result_max_bytes

_ROOT = str(Path(__file__).parents[2])
_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); from operators.sandbox.keeper import main; "
    "main(sys.argv[1], sys.argv[2] == 'egress', sys.argv[3] == 'namespaces')"
)
GRACE_SECONDS = 5.0
"""How much longer than a step's time-out the keeper waits: whoever runs the step ends it first, this is the net."""
ANSWER_LIMIT = 2_000_000
TAIL_LIMIT = 1_000
"""Characters of what was printed last, in the message of an error."""
NEAR_THE_LIMIT = 0.9
"""Of its memory limit: a process that was killed when it had more than this ran out of memory."""

_logger = logging.getLogger(__name__)


class JobFailedError(Exception):
    """A step's code gave no result.

    :param code: Stable code of the step's error.
    :param message: Rule, got, fix; holds the tenant's text, so it is for the journal only.
    :param retryable: Whether another attempt, which gets a fresh process, can help.
    """

    def __init__(self, code: str, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable


@dataclass(frozen=True, slots=True)
class Job:
    """What a step runs.

    :param code: Defines ``main(input)``.
    :param timeout_seconds: Of this attempt.
    """

    language: Literal["python", "javascript"]
    code: str
    input: JsonValue
    network: Network
    limits: Limits
    timeout_seconds: float


class Sandbox:
    """The child processes of one run. Steps that follow each other share a keeper, parallel ones have one each.

    :param namespaces: Whether to use Linux namespaces where they are permitted.
    """

    def __init__(self, *, namespaces: bool = True) -> None:
        self._namespaces = namespaces
        self._idle: dict[Network, list[_Keeper]] = {}
        self._keepers: set[_Keeper] = set()

    async def run(self, job: Job) -> JsonValue:
        """Run a step's code once and return what ``main`` returned. When cancelled it leaves no process behind.

        :raises JobFailedError: It gave no result.
        """
        node = shutil.which("node") if job.language == "javascript" else None
        if job.language == "javascript" and node is None:
            message = "this machine must have Node.js for JavaScript; no `node` is in its PATH. Install it"
            raise JobFailedError("language_unavailable", message, retryable=False)
        keeper = await self._take(job.network)
        try:
            answer, result = await keeper.ask(request_of(job, node, GRACE_SECONDS), payload_of(job))
        except BaseException:
            await self._discard(keeper)
            raise
        self._idle.setdefault(job.network, []).append(keeper)
        return outcome(answer, result, job)

    async def close(self) -> None:
        """End every keeper, and with it all it has started."""
        for keeper in list(self._keepers):
            await self._discard(keeper)

    async def _take(self, network: Network) -> _Keeper:
        idle = self._idle.setdefault(network, [])
        while idle:
            keeper = idle.pop()
            if keeper.alive:
                return keeper
            await self._discard(keeper)
        keeper = await _Keeper.start(network, self._namespaces)
        self._keepers.add(keeper)
        return keeper

    async def _discard(self, keeper: _Keeper) -> None:
        self._keepers.discard(keeper)
        await keeper.end()


class _Keeper:
    """A running keeper program."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, network: Network, namespaces: bool) -> _Keeper:
        """Start a keeper; its environment is empty.

        :raises JobFailedError: It did not start.
        """
        arguments = ["-I", "-S", "-B", "-X", "utf8", "-c", _START, _ROOT, network,
                     "namespaces" if namespaces else "plain"]  # fmt: skip
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, *arguments, env={}, cwd="/", limit=ANSWER_LIMIT, start_new_session=True,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
        except OSError as error:
            raise _broken(f"{type(error).__name__}") from None
        keeper = cls(process)
        try:
            protections, _ = await keeper._read()
        except BaseException:
            await keeper.end()
            raise
        _report(protections)
        return keeper

    @property
    def alive(self) -> bool:
        """Whether its end has not been noticed."""
        return self._process.returncode is None

    async def ask(self, request: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        """Have a step run.

        :raises JobFailedError: The keeper broke off.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(orjson.dumps({**request, "size": len(payload)}) + b"\n" + payload)
            await self._process.stdin.drain()
        except OSError:
            raise _broken("the process is gone") from None
        return await self._read()

    async def _read(self) -> tuple[dict[str, Any], bytes]:
        assert self._process.stdout is not None
        try:
            answer: dict[str, Any] = orjson.loads(await self._process.stdout.readuntil(b"\n"))
            return answer, await self._process.stdout.readexactly(answer["size"])
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError, ValueError):
            raise _broken("the process is gone") from None

    async def end(self) -> None:
        """End it and all it has started; wait until they are gone, also when cancelled in the middle."""
        with contextlib.suppress(ProcessLookupError):
            # Its first process kills the others when this ends it; without namespaces it does so on this signal.
            self._process.send_signal(signal.SIGTERM)
        assert self._process.stdin is not None
        self._process.stdin.close()
        waiting = asyncio.ensure_future(self._process.wait())
        try:
            await asyncio.wait_for(asyncio.shield(waiting), GRACE_SECONDS)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await waiting


def _report(protections: dict[str, Any]) -> None:
    """Say in the worker's log how well tenant code is kept apart."""
    namespaces = " ".join(protections["namespaces"]) or "none"
    if protections["uid"] is None:
        reach = "files" if protections["namespaces"] else "files, environments and processes"
        text = "code steps run as the platform's own user and reach its %s; own namespaces: %s"
        _logger.warning(text, reach, namespaces)
    else:
        _logger.info("code steps run with user id %s; own namespaces: %s", protections["uid"], namespaces)


def request_of(job: Job, node: str | None, grace: float) -> dict[str, Any]:
    """Return what the keeper is asked for.

    :param grace: How much longer than the step's time-out it waits, in seconds.
    """
    cores = max(1.0, job.limits.cpu_millicores / 1000)
    return {
        "language": job.language,
        "node": node,
        "timeout": job.timeout_seconds + grace,
        "cpu_seconds": math.ceil(job.timeout_seconds * cores) + 1,
        "memory": job.limits.memory_bytes,
        "storage": job.limits.ephemeral_storage_bytes,
        "result_limit": result_max_bytes(),
    }


def payload_of(job: Job) -> bytes:
    """Return a step's program and input as the processes read them."""
    # Not orjson: input may hold numbers beyond 64 bits and halves of surrogate pairs.
    return json.dumps({"code": job.code, "input": job.input}).encode()


def _broken(detail: str) -> JobFailedError:
    return JobFailedError("sandbox_error", f"the child process for code broke off: {detail}", retryable=True)


def outcome(answer: dict[str, Any], result: bytes, job: Job) -> JsonValue:
    """Return a step's result.

    :raises JobFailedError: There is none.
    """
    failure = _limit_passed(answer, job) or _written(result) or _ended_early(answer, job)
    if failure is None:
        return _parsed(result[1:])
    code, message, retryable = failure
    tail = answer["tail"].strip()[-TAIL_LIMIT:]
    raise JobFailedError(code, f"{message}\nIt printed last:\n{tail}" if tail else message, retryable=retryable)


Failure = tuple[str, str, bool]
"""Code, message, and whether another attempt can help."""


def _limit_passed(answer: dict[str, Any], job: Job) -> Failure | None:
    memory = f"{job.limits.memory_bytes / 1_048_576:,.0f} MiB"
    storage = f"{job.limits.ephemeral_storage_bytes / 1_048_576:,.0f} MiB"
    reasons: dict[str, Failure] = {
        "timeout": ("timeout", f"an attempt took longer than {job.timeout_seconds:g} s", True),
        "too_many_processes": ("too_many_processes", "the code must start fewer processes; it started too many", False),
        "out_of_memory": ("out_of_memory", f"the code must do with {memory} of memory; it took more", False),
        "result_too_large": (
            "output_too_large",
            f"the result must have at most {result_max_bytes():,} bytes of JSON; it has more",
            False,
        ),
        "results_too_large": (
            "output_too_large",
            "the results of steps that share a pod must fit into 240 MB; they do not",
            False,
        ),
        "printed_too_much": ("output_too_large", "the code must print at most 10 MB; it printed more", False),
        "storage_full": ("storage_full", f"the code must do with {storage} of files; it wrote more", False),
    }
    return reasons.get(answer["reason"])


def _written(result: bytes) -> Failure | None:
    """Return the failure that the step's process reported itself; None where it gave a result or nothing."""
    kind, text = result[:1], result[1:]
    if kind == b"S":
        return "sandbox_error", f"the child process could not be set up: {text.decode('utf-8', 'replace')}", True
    if kind != b"E":
        return None
    try:
        error = orjson.loads(text)
        code, message = str(error["code"]), str(error["message"])
    except (ValueError, KeyError, TypeError):
        return "invalid_output", "the process ended in the middle of its result", True
    known = code in ("code_error", "out_of_memory", "invalid_output", "too_many_processes", "language_unavailable")
    code = code if known else "code_error"
    # The code's own exception may be about something that passes, such as a service it called.
    return code, message, code == "code_error"


def _ended_early(answer: dict[str, Any], job: Job) -> Failure | None:
    """Return the failure of a process that ended before its result was whole."""
    exit_code = answer["exit_code"]
    if exit_code == 0:
        return None
    if exit_code > 0:
        return "invalid_output", f"the process ended with exit code {exit_code} before `main` returned", False
    name = signal.Signals(-exit_code).name if -exit_code in set(signal.Signals) else f"signal {-exit_code}"
    if name == "SIGXCPU":
        return "timeout", "the code used more processor time than its `timeout` and `cpu` allow", True
    # Which signal a runtime ends by where it gets no more memory, and whether it can still say so, differs.
    if "out of memory" in answer["tail"] or answer["peak_memory"] > job.limits.memory_bytes * NEAR_THE_LIMIT:
        return "out_of_memory", "the code must do with its memory limit; it asked for more", False
    return "killed", f"the process was killed by {name}", True


def _parsed(text: bytes) -> JsonValue:
    if not text:
        raise JobFailedError("invalid_output", "the process ended before `main` returned", retryable=False)
    try:
        value: JsonValue = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        message = "the result must be JSON; the process wrote something else"
        raise JobFailedError("invalid_output", message, retryable=False) from None
    return value


def _no_constant(name: str) -> None:
    raise ValueError(name)
