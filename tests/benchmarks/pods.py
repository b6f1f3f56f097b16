"""What steps in pods cost on a cluster, without Airflow: a cold start beside a warm one, a step in a running pod, a pod
a step.

The workloads are those of ``code_steps.py``. The cluster is the tests'; see ``docs/pods.md``.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from compiler.planning import limits_of
from operators.execution.records import WarmPods
from operators.pods import warm
from operators.pods.cluster import Cluster
from tests.benchmarks.code_steps import WORKLOADS, bare_seconds, workflow
from tests.kubernetes.cluster import IMAGE, ORGANIZATION, VARIABLE, TestCluster, cluster_settings, exports_of
from tests.kubernetes.cluster import plan_of_case as plan_of

RUNS = 5
STARTS = 10
_NUMBERS = count()


@dataclass(frozen=True)
class Figures:
    """Medians of one workload, in seconds.

    :param unfused: Of one run, with a pod for each step.
    """

    steps: int
    n: int
    bare: float
    fused: float
    unfused: float


def why_not() -> str | None:
    """Return why there is no cluster to measure, or None."""
    folder = os.environ.get(VARIABLE)
    return None if folder and (Path(folder) / "up").exists() else f"{VARIABLE} names no folder with a cluster's scripts"


@contextmanager
def cluster() -> Iterator[TestCluster]:
    """A cluster with one organisation's namespace; stopped, where it did not run before."""
    folder = Path(os.environ[VARIABLE])
    started = subprocess.run([folder / "up"], capture_output=True, text=True, check=True)
    with tempfile.TemporaryDirectory() as configs:
        made = TestCluster(exports_of(started.stdout), Path(configs), folder)
        try:
            made.image(IMAGE, "--base", "localhost/python:3.11")
            made.open(cluster_settings(made))
            made.namespaces.ensure(ORGANIZATION)
            yield made
        finally:
            made.clean()
            if "already running" not in started.stderr:
                subprocess.run([folder / "down"], capture_output=True, check=False)


def measure(made: TestCluster) -> list[Figures]:
    """Run every workload.

    :raises RuntimeError: A run did not succeed.
    """
    _run(made, 1, 1, "auto")
    return [
        Figures(
            steps,
            n,
            bare=bare_seconds(steps, n),
            fused=statistics.median(_run(made, steps, n, "auto") for _ in range(RUNS)),
            unfused=_run(made, steps, n, "off"),
        )
        for steps, n in WORKLOADS
    ]


def measure_starts(made: TestCluster) -> tuple[list[float], list[float]]:
    """Return the seconds of runs of one quick step: with a pod that starts cold, and with one that was kept warm; in
    turns.

    :raises RuntimeError: A run did not get what was to be measured.
    """
    kind = WarmPods(image="python:3.11-slim", network="none", limits=limits_of(None), size=1)
    settings = made.pod_settings().model_copy(update={"warm": [kind]})
    pods = Cluster(made.api(), settings.namespace)
    cold, warmed = [], []
    for _ in range(STARTS):
        cold.append(_run(made, 1, 1, "auto"))
        warm.keep(pods, settings)
        while not all(map(warm.is_ready, warm.idle_pods(pods))):
            time.sleep(0.2)
        warmed.append(_run(made, 1, 1, "auto", warm=[kind]))
        while made.api().list_namespaced_pod(settings.namespace).items:
            # One whose status changed meanwhile stays for the next round.
            warm.keep(pods, settings.model_copy(update={"warm": []}))
            time.sleep(0.5)
    return cold, warmed


def _run(made: TestCluster, steps: int, n: int, fusion: str, **changes: Any) -> float:
    """Return the seconds from the start of a run to its result; the removal of its pods is not in them."""
    plan = plan_of({"workflow": workflow(steps, n, fusion)}, fusion)
    execution_id = f"bench-{next(_NUMBERS)}"
    pool = made.pools(plan, **changes)
    start = time.perf_counter()
    ended = 0.0

    async def run() -> None:
        nonlocal ended
        from operators.execution.local import run_plan

        try:
            result = await run_plan(plan, execution_id=execution_id, pods=pool, input={})
            ended = time.perf_counter()
            if result.status != "success":
                raise RuntimeError(f"{steps} x fibo({n}) must succeed; got {result.error}")
        finally:
            await pool.remove(execution_id)

    asyncio.run(run())
    if not changes:
        _wait_until_gone(made)
    return ended - start


def _wait_until_gone(made: TestCluster) -> None:
    """Pods that end must not slow the next ones that start."""
    while made.api().list_namespaced_pod(made.settings.namespace_of(ORGANIZATION)).items:
        time.sleep(0.2)


def starts_table(cold: list[float], warmed: list[float]) -> str:
    """Return the figures of starts."""
    rows = {"cold": cold, "warm": warmed}
    lines = [f"{f'one step, {STARTS} runs, s':<26}{'median':>10}{'fastest':>10}{'slowest':>10}"]
    lines += [
        f"{name:<26}{statistics.median(row):>10.3f}{min(row):>10.3f}{max(row):>10.3f}" for name, row in rows.items()
    ]
    lines.append(f"warm is {statistics.median(cold) / statistics.median(warmed):.1f} times faster")
    return "\n".join(lines)


def table(figures: list[Figures]) -> str:
    """Return the figures with their ratios and aims."""
    one, small, large = figures
    lines = [f"{'median, s':<16}{'bare Python':>13}{'fused':>13}{'pod a step':>13}"]
    lines += [
        f"{f'{each.steps} x fibo({each.n})':<16}{each.bare:>13.4f}{each.fused:>13.3f}{each.unfused:>13.3f}"
        for each in figures
    ]
    overhead = (small.fused - one.fused) / (small.steps - one.steps) * 1000
    lines += [
        f"a pod's cold start with one step: {one.fused:.3f} s",
        f"each further step in a running pod: {overhead:.1f} ms",
        f"40 x fibo(10), fused: {small.fused / one.fused:.2f} pod starts (aim: within 1.5), "
        f"{small.unfused / small.fused:.1f} times faster than a pod a step",
        f"10 x fibo(33), fused, without the start: {(large.fused - one.fused) / large.bare:.2f} times bare Python",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and print, where there is a cluster."""
    reason = why_not()
    if reason:
        print(f"skipped: {reason}")
        return
    with cluster() as made:
        print(table(measure(made)))
        print(starts_table(*measure_starts(made)))


if __name__ == "__main__":
    main()
