"""Each way a pod fails, caused for real: its own code, a message, and whether a retry can help."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from operators.execution.local import LocalResult
from tests.kubernetes.cluster import IMAGE, TestCluster, code, compiled

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(250)]

SPILL = "head -c 60000000 /dev/zero > /tmp/x; sleep 200"
"""The kubelet measures the storage of pods once a minute, and looks at what it has measured every ten seconds."""
EAT = "python3 -c 'x = bytearray(300_000_000)'"
OUT = '"$AGENT_FACTORY_OUTPUT"'


@dataclass(frozen=True)
class Case:
    """A task that fails.

    :param attempts: How many there are, of two: where a retry cannot help, one.
    """

    script: str
    code: str
    words: str
    attempts: int = 1
    fields: dict[str, Any] = field(default_factory=dict)
    pool: dict[str, Any] = field(default_factory=dict)


CASES = {
    "out of memory": Case(EAT, "out_of_memory", "memory", 1, {"resource_limits": {"memory": "64Mi"}}),
    "no such image": Case("", "image_pull", "must be there to pull", 2, {"runtime_image": "localhost/nobody:1"}),
    "not allowed": Case("", "image_not_allowed", "not among", 1, pool={"images": ["python:3.12"]}),
    "no digest": Case("", "image_not_allowed", "digest", 1, pool={"digests": True}),
    "no node": Case(
        "", "unschedulable", "Insufficient memory", 2, {"resource_limits": {"memory": "200Gi"}}, {"start_seconds": 3}
    ),
    "above the limits": Case("", "unschedulable", "maximum", 1, {"resource_limits": {"cpu": "32"}}),
    "quota": Case("", "unschedulable", "exceeded quota", 2, {"resource_limits": {"ephemeral_storage": "200Gi"}}),
    "no start": Case("", "start_timeout", "must run within", 2, pool={"start_seconds": 0.001}),
    "deadline": Case("sleep 60", "deadline", "deadline", 1, pool={"deadline_seconds": 8}),
    "time-out": Case("sleep 60", "timeout", "longer than 1 s", 1, {"timeout": "1s", "retry": {"attempts": 1}}),
    "exit code": Case("echo last words; exit 3", "exit_code", "got 3\nIt printed last:\nlast words", 2),
    "no such command": Case("", "exit_code", "able to run the command", 1, {"command": ["/nowhere"]}),
    "no output": Case("echo oops", "invalid_output", "it wrote none", 1),
    "no JSON": Case(f"echo oops > {OUT}", "invalid_output", "must be JSON", 1),
    "a link": Case(f"ln -s /agent-factory/given/steward.py {OUT}", "invalid_output", "regular file", 1),
    "a pipe": Case(f"mkfifo {OUT}", "invalid_output", "regular file", 1),
    "too much": Case(f"truncate -s 10000000000 {OUT}", "output_too_large", "64,000,000 bytes", 1),
    "too much storage": Case(
        SPILL, "storage_full", "", 1, {"resource_limits": {"ephemeral_storage": "2Mi"}, "timeout": "180s"}
    ),
}


DELETED = "failure-deleted"
IDS = (DELETED, *(f"failure-{number}" for number in range(len(CASES))))


async def run(cluster: TestCluster, case: Case, execution_id: str) -> LocalResult:
    fields = dict(case.fields)
    command = fields.pop("command", ["sh", "-c", case.script])
    retry = {"attempts": 2, "backoff_seconds": 0.01}
    task = {
        "id": "a", "type": "container", "runtime_image": IMAGE, "config": {"command": command}, "timeout": "50s",
        "retry": retry, **fields,
    }  # fmt: skip
    return await cluster.run(compiled(task), execution_id, cluster.pool(**case.pool), input={})


async def run_deleted(cluster: TestCluster, execution_id: str) -> LocalResult:
    """Run a step whose pod somebody deletes, once; the second attempt ends well."""
    import asyncio

    async def delete() -> None:
        while not (pods := [pod for pod in cluster.pods(execution_id) if pod.status.phase == "Running"]):
            await asyncio.sleep(0.1)
        cluster.api().delete_namespaced_pod(pods[0].metadata.name, pods[0].metadata.namespace)

    source = "import time\n\n\ndef main(input):\n    time.sleep(4)\n    return 1\n"
    plan = compiled(code("a", source, retry={"attempts": 2, "backoff_seconds": 0.01}))
    result, _ = await asyncio.gather(cluster.run(plan, execution_id, input={}), delete())
    return result


@pytest.fixture(scope="module")
def results(cluster: TestCluster) -> dict[str, LocalResult]:
    runs: dict[str, Callable[[], Awaitable[LocalResult]]] = {
        name: partial(run, cluster, case, f"failure-{number}") for number, (name, case) in enumerate(CASES.items())
    }
    return cluster.run_all({"deleted": partial(run_deleted, cluster, DELETED), **runs}, at_once=10)


@pytest.mark.parametrize("name", CASES)
def test_failure(name: str, results: dict[str, LocalResult]) -> None:
    case, step = CASES[name], results[name].steps["a"]
    assert step.error is not None, step
    assert (step.error.code, step.attempts) == (case.code, case.attempts), step.error
    assert case.words in step.error.message


def test_a_deleted_pod_is_a_lost_attempt(results: dict[str, LocalResult]) -> None:
    step = results["deleted"].steps["a"]
    assert (step.status, step.output, step.attempts) == ("success", 1, 2)


def test_no_pod_is_left(cluster: TestCluster, results: dict[str, LocalResult]) -> None:
    """A container's pod goes with its step, a shared one with its unit."""
    left = {execution_id: len(pods) for execution_id, pods in cluster.left.items() if execution_id in IDS}
    assert left == dict.fromkeys(IDS, 0) | {DELETED: 1}
    assert not cluster.pods()
