"""What steps that share a pod do to each other: nothing, also where one breaks the pod or brings much."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from operators.execution.local import LocalResult
from operators.pods.pool import PodPool
from operators.pods.spec import STEWARD
from operators.steps.base import StepFailedError, StepKey, StepServices, Waiting, Wake
from operators.steps.registry import IN_PODS
from tests.kubernetes.cluster import TestCluster, code, compiled
from tests.support import until

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(250)]

# Of the twelve items each of the four pods has three; in one of them the second ends the keeper while the third waits.
KILLER = 4
KILL = f"""
import os, signal, time

def main(input):
    time.sleep(2)
    if input['n'] == {KILLER}:
        os.kill(1, signal.SIGTERM)
        time.sleep(30)
    return input['n']
"""
LARGE = "def main(input):\n    return ['' if number % 4 else 'x' * 15_000_000 for number in range(12)]\n"
SIZE = "import time\n\n\ndef main(input):\n    time.sleep(1)\n    return len(input['text'])\n"
DEEP = """
import os

def main(input):
    for folder in ('.', '/tmp', '/dev/shm'):
        os.chdir(folder)
        for _ in range(1500):
            os.mkdir('d')
            os.chdir('d')
    return 'kept'
"""
LOOK = (
    "import os\n\n\ndef main(input):\n    return [len(os.listdir('/tmp')), os.listdir('/dev/shm'), os.listdir('.')]\n"
)


def mapped(body: dict[str, Any], over: str, **config: Any) -> dict[str, Any]:
    """Return a map over numbers."""
    more = {"as": "n", "concurrency": 12, "result": f"{{{{ {body['id']}.output }}}}", **config}
    return {"id": "each", "type": "map", "config": {"over": over, "tasks": [body], **more}}


def killed(cluster: TestCluster, execution_id: str, **options: Any) -> Any:
    """A map one of whose items ends the program of its pod."""
    body = code("a", KILL, input={"n": "{{ n }}"})
    plan = compiled(mapped(body, "{{ input }}", on_item_error="continue"))
    return cluster.run(plan, execution_id, cluster.pool(**options), input=list(range(12)))


def large(cluster: TestCluster) -> Any:
    """A map whose items bring 15 MB each, three of them into the same pod."""
    more: dict[str, Any] = {"resource_limits": {"memory": "256Mi"}}
    body = code("a", SIZE, input={"text": "{{ n }}"}, **more)
    plan = compiled(code("big", LARGE, next=["each"], **more), mapped(body, "{{ big.output }}"))
    return cluster.run(plan, "shared-large", input={})


def deep(cluster: TestCluster) -> Any:
    """A step that leaves folders nested more deeply than our own calls may be."""
    return cluster.run(compiled(code("deep", DEEP, next=["look"]), code("look", LOOK)), "shared-deep", input={})


@pytest.fixture(scope="module")
def results(cluster: TestCluster) -> dict[str, LocalResult]:
    runs = {
        "killed": partial(killed, cluster, "shared-killed"),
        # Nobody stays with a pod for long: those who look again have not seen it break.
        "killed, looked at anew": partial(killed, cluster, "shared-anew", hold_seconds=0.5),
        "large": partial(large, cluster),
        "deep": partial(deep, cluster),
    }
    return cluster.run_all(runs, at_once=2)


@pytest.mark.parametrize("name", ["killed", "killed, looked at anew"])
def test_who_breaks_a_pod_fails_and_nobody_else(name: str, results: dict[str, LocalResult]) -> None:
    result = results[name]
    items = {step_id: step for step_id, step in result.steps.items() if step_id.startswith("each[")}
    assert [step.status for step in items.values()].count("success") == 11
    assert {step.attempts for step in items.values()} == {1}
    error = items[f"each[{KILLER}].a"].error
    assert error is not None
    assert error.code == "killed"
    assert result.steps["each"].output == [None if number == KILLER else number for number in range(12)]


def test_large_inputs_that_wait_break_nothing(results: dict[str, LocalResult]) -> None:
    assert results["large"].status == "success", results["large"].steps["each"].error
    assert results["large"].steps["each"].output == [0 if number % 4 else 15_000_000 for number in range(12)]


def test_deep_folders_break_nothing(results: dict[str, LocalResult]) -> None:
    steps = results["deep"].steps
    assert steps["deep"].output == "kept", steps["deep"].error
    assert steps["look"].output == [1, [], []]
    # It was in the same pod.
    assert steps["look"].timing is not None
    assert steps["look"].timing.start == 0


async def test_who_looks_after_the_pod_broke_learns_what_became_of_each(cluster: TestCluster) -> None:
    """The worker is gone before the pod breaks; whoever goes on has nothing but what is in it."""
    [step] = compiled(code("a", KILL, input={"n": "{{ input.n }}"})).steps
    jobs = {number: IN_PODS["code"].render(step, {"input": {"n": number}}) for number in (0, KILLER, 2 * KILLER)}

    async def look(pool: PodPool) -> list[Any]:
        now, services = datetime.now(UTC), StepServices(None, pods=pool)  # type: ignore[arg-type]
        looks = [
            IN_PODS["code"].poll(job, services, Waiting(StepKey("shared-later", 0, f"each[{number}].a"), now), now)
            for number, job in jobs.items()
        ]
        return await asyncio.gather(*looks, return_exceptions=True)

    first, second = cluster.pool(hold_seconds=1), cluster.pool(hold_seconds=60)
    steward = ""
    try:
        while steward.count("took") < 3:
            assert all(isinstance(seen, Wake) for seen in await look(first))
            [pod] = cluster.pods("shared-later")
            steward = cluster.log(pod, STEWARD)
        await first.close()
        until(lambda: "lost" in cluster.log(pod, STEWARD))
        done, lost, unbegun = await look(second)
    finally:
        await second.remove("shared-later")
        await second.close()
    assert isinstance(lost, StepFailedError)
    assert (lost.code, done.output, unbegun.output) == ("killed", 0, 2 * KILLER)
