"""How long chains of ``code`` steps take on a running platform, fused and not fused, beside bare Python.

The workloads are Windmill's: 40 steps of almost no work, 10 steps of about half a second each.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tests.support import Platform

RUNS = 3
SOURCE = """
def fibo(n):
    return n if n < 2 else fibo(n - 1) + fibo(n - 2)


def main(input):
    return fibo(input["n"])
"""
WORKLOADS = ((1, 1), (40, 10), (10, 33))
"""Steps and the number each computes; the first is one Airflow task with one process, and no work."""


@dataclass(frozen=True)
class Figures:
    """Medians of one workload, in seconds."""

    steps: int
    n: int
    bare: float
    fused: float
    unfused: float


def workflow(steps: int, n: int, fusion: str) -> dict[str, Any]:
    """Return a chain of code steps."""
    config = {"language": "python", "input": {"n": n}}
    tasks: list[dict[str, Any]] = [
        {"id": f"step{number}", "type": "code", "code": SOURCE, "config": config} for number in range(steps)
    ]
    for task, following in pairwise(tasks):
        task["next"] = [following["id"]]
    return {
        "id": f"bench_code_{steps}_{n}_{fusion}",
        "name": "Bench",
        "version": "1",
        "trigger": {"type": "manual", "config": {}},
        "settings": {"fusion": fusion},
        "tasks": tasks,
    }


def measure(platform: Platform) -> list[Figures]:
    """Run every workload, after a warm-up of each.

    :raises RuntimeError: An execution did not succeed.
    """
    return [
        Figures(
            steps,
            n,
            bare=statistics.median(bare_seconds(steps, n) for _ in range(RUNS)),
            fused=_published(platform, workflow(steps, n, "auto"), RUNS),
            # Forty Airflow tasks take their time; once is enough.
            unfused=_published(platform, workflow(steps, n, "off"), 1),
        )
        for steps, n in WORKLOADS
    ]


def bare_seconds(steps: int, n: int) -> float:
    """Return the seconds that a workload takes in one Python process."""
    names: dict[str, Any] = {}
    exec(SOURCE, names)
    start = time.perf_counter()
    for _ in range(steps):
        names["main"]({"n": n})
    return time.perf_counter() - start


def _published(platform: Platform, document: dict[str, Any], runs: int) -> float:
    dag_id = platform.publish(document)["dag_id"]
    # A run waits until Airflow has the DAG; that is no part of the figures.
    _run(platform, document, dag_id)
    return statistics.median(_run(platform, document, dag_id) for _ in range(runs))


def _run(platform: Platform, document: dict[str, Any], dag_id: str) -> float:
    """Return the seconds from the request until the execution's end is known."""
    start = time.perf_counter()
    execution_id = platform.execute(document["id"], {})
    execution = platform.wait(execution_id, 600)
    seconds = time.perf_counter() - start
    if execution["status"] != "success":
        raise RuntimeError(f"{document['id']} must succeed; got {execution}")
    # Airflow closes its run a little later; that work must not slow the next one.
    run = f"/api/v2/dags/{dag_id}/dagRuns/{execution_id}/wait"
    platform.airflow.get(run, params={"interval": 0.2}).raise_for_status()
    return seconds


def table(figures: list[Figures]) -> str:
    """Return the figures with their ratios and aims."""
    one, small, large = figures
    lines = [f"{'median, s':<16}{'bare Python':>13}{'fusion auto':>13}{'fusion off':>13}"]
    lines += [
        f"{f'{each.steps} x fibo({each.n})':<16}{each.bare:>13.4f}{each.fused:>13.3f}{each.unfused:>13.3f}"
        for each in figures
    ]
    ratio = (large.fused - one.fused) / large.bare
    lines += [
        f"40 x fibo(10), fused: {small.fused:.3f} s, {small.unfused / small.fused:.1f} times faster than not fused "
        "(aim: under 1.5 s)",
        f"10 x fibo(33), fused: {large.fused / large.bare:.2f} times bare Python; without one Airflow task "
        f"({one.fused:.3f} s) {ratio:.2f} times (aim: under 1.3 times)",
    ]
    return "\n".join(lines)
