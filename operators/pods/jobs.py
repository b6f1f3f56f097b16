"""What a step wants done in a pod, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
from pydantic import JsonValue

from compiler.plan import Pod, Step
from operators.execution.records import PodTiming
from operators.pods.failures import PodFailedError
from operators.pods.spec import GIVEN, INPUT_FILE, OUTPUT_FILE, RESULTS, Program
from operators.sandbox.sandbox import Job, JobFailedError, outcome, payload_of, request_of
from operators.settings import result_max_bytes
from operators.steps.base import StepResult, Waiting

MAP_PODS = 4
"""How many pods the items of a map share at most."""
_INSIDE = Path(__file__).parent / "inside"
_SANDBOX = Path(__file__).parents[1] / "sandbox"
KEEPER = Program(command=("python3", "-I", "-B", "-X", "utf8", f"{GIVEN}/serve.py"))
"""Runs Python steps, one after the other."""
_NODE = (
    f'exec node --max-old-space-size="$0" --no-warnings {GIVEN}/node_step.js <{GIVEN}/{INPUT_FILE} '
    f"3>{RESULTS}/{OUTPUT_FILE}"
)


@dataclass(frozen=True, slots=True)
class PodJob:
    """A step's job.

    :param program: Of the tenant's container.
    :param company: What jobs of one pod have in common.
    :param files: What is brought in besides our own programs: name -> text.
    :param request: For the keeper; empty where the container itself does the job.
    :param job: The code, where it is a code step.
    """

    pod: Pod
    program: Program
    company: str
    timeout_seconds: float
    files: tuple[tuple[str, str], ...] = ()
    request: bytes = b""
    job: Job | None = None

    def slot_of(self, waiting: Waiting) -> str:
        """Return the name of the pods that may take this job. Where the container itself does it, that is the step's:
        each attempt has a pod of its own, and none begins beside the one before."""
        if self.program.gives_file:
            return str(waiting.key)
        return f"{self.company} {_shard(waiting.key.step_id)}"


def code_job(step: Step, job: Job) -> PodJob:
    """Return the job of a code step.

    Python steps share a pod, in which the sandbox's keeper keeps them apart. Nobody can promise that for ``node``: it
    has no way to close itself to what it starts. So a pod does one step of JavaScript.
    """
    assert step.pod is not None
    company = f"{job.language} {step.pod.image} {step.pod.network} {step.pod.limits.model_dump_json()}"
    if job.language == "python":
        payload = payload_of(job)
        request = orjson.dumps({**request_of(job, None, 0.0), "size": len(payload)}) + b"\n" + payload
        return PodJob(step.pod, KEEPER, company, job.timeout_seconds, (), request, job)
    heap = str(max(16, job.limits.memory_bytes // 1_048_576))
    program = Program(command=("sh", "-c", _NODE, heap), gives_file=True)
    return PodJob(step.pod, program, company, job.timeout_seconds, ((INPUT_FILE, payload_of(job).decode()),), b"", job)


def container_job(step: Step, program: Program, input_text: str) -> PodJob:
    """Return the job of a container step: its input is a file, its output is one."""
    assert step.pod is not None
    assert step.timeout_seconds is not None
    return PodJob(step.pod, program, step.id, step.timeout_seconds, ((INPUT_FILE, input_text),))


def _shard(step_id: str) -> int:
    """Return which of a map's pods an item's steps go to; outside of maps there is one."""
    index = step_id.partition("[")[2].partition("]")[0]
    return int(index) % MAP_PODS if index.isdigit() else 0


@lru_cache(maxsize=1)
def programs() -> dict[str, str]:
    """Return our own programs that a pod needs: path below the folder they are brought into -> text."""
    files = {"operators/__init__.py": "", "operators/sandbox/__init__.py": ""}
    for name in ("confinement.py", "folders.py", "keeper.py", "processes.py", "python_step.py", "watch.py",
                 "node_step.js"):  # fmt: skip
        files[f"operators/sandbox/{name}"] = (_SANDBOX / name).read_text()
    files["node_step.js"] = files["operators/sandbox/node_step.js"]
    for name in ("steward.py", "serve.py"):
        files[name] = (_INSIDE / name).read_text()
    return files


def result_of_keeper(job: PodJob, data: bytes, timing: PodTiming, printed: Callable[[str], str]) -> StepResult:
    """Return what a step in a shared pod gave.

    :param data: The steward's file: the keeper's answer on a line, then what the step's process wrote.
    :param printed: Takes the end of what the step printed, and returns what may be told of it.
    :raises JobFailedError: It gave nothing.
    """
    assert job.job is not None
    line, _, result = data.partition(b"\n")
    try:
        answer = _checked(orjson.loads(line))
    except (ValueError, KeyError, TypeError):
        raise JobFailedError(
            "invalid_output", "the container must run our program; it ran another", retryable=False
        ) from None
    answer["tail"] = printed(answer["tail"])
    timing.run = round(answer["ran"] * 1000, 3)
    return StepResult(outcome(answer, result, job.job), timing=timing)


def _checked(answer: Any) -> dict[str, Any]:
    """Check what came out of the tenant's container: its image may run something else than our program."""
    checked: dict[str, Any] = {
        "reason": str(answer["reason"]),
        "exit_code": int(answer["exit_code"]),
        "peak_memory": int(answer["peak_memory"]),
        "tail": str(answer["tail"])[-8_000:],
        "ran": float(answer["ran"]),
    }
    if not -64 <= checked["exit_code"] <= 255:
        raise ValueError(checked["exit_code"])
    return checked


def result_of_file(job: PodJob, answer: dict[str, Any], data: bytes, tail: str, timing: PodTiming) -> StepResult:
    """Return what a container gave that ended with exit code 0.

    :param answer: The steward's: whether there is a file, and what was wrong with it.
    :raises PodFailedError: There is no such file, or it holds no JSON.
    :raises JobFailedError: The code in it gave no result.
    """
    if answer["state"] == "too_large" or len(data) > result_max_bytes() + 1:
        rule = f"the output must have at most {result_max_bytes():,} bytes of JSON; it has more. Give less"
        raise PodFailedError("output_too_large", rule, retryable=False)
    if answer["state"] == "refused":
        rule = f"the output must be a regular file of its own, readable to its group; {answer['reason']}"
        raise PodFailedError("invalid_output", rule, retryable=False)
    if job.job is not None:
        ended = {"reason": "ended", "exit_code": 0, "peak_memory": 0, "tail": tail}
        return StepResult(outcome(ended, data, job.job), timing=timing)
    if answer["state"] == "missing":
        rule = "the container must write its output to $AGENT_FACTORY_OUTPUT; it wrote none"
        raise PodFailedError("invalid_output", _with_tail(rule, tail), retryable=False)
    try:
        output: JsonValue = orjson.loads(data)
    except ValueError:
        rule = "the container's output must be JSON in UTF-8; it is not"
        raise PodFailedError("invalid_output", _with_tail(rule, tail), retryable=False) from None
    return StepResult(output, timing=timing)


def failure_of_code(job: PodJob, failure: PodFailedError, tail: str) -> PodFailedError | JobFailedError:
    """Return the failure of a container that did not end with exit code 0; a code step has words of its own for it."""
    if job.job is not None and failure.code == "exit_code" and failure.exit_code:
        code = failure.exit_code if failure.exit_code < 128 else 128 - failure.exit_code
        try:
            outcome({"reason": "ended", "exit_code": code, "peak_memory": 0, "tail": tail}, b"", job.job)
        except JobFailedError as error:
            return error
    return PodFailedError(failure.code, _with_tail(failure.message, tail), retryable=failure.retryable)


def _with_tail(message: str, tail: str) -> str:
    return f"{message}\nIt printed last:\n{tail.strip()}" if tail.strip() else message
