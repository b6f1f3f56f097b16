"""Where the time of one execution goes, and how many a running platform does a second.

The moments are those that control plane and Airflow stored themselves; only the first and the last are the caller's.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import psycopg2

from tests.benchmarks.idle import cpu_seconds
from tests.support import Platform

WORKFLOW_ID = "bench_latency"
RUNS = 10
BURST = 60
PHASES = {
    "accepted": "the request is stored",
    "relayed": "the relay took it",
    "scheduled": "Airflow has the run",
    "queued": "Airflow's scheduler gave its task to a worker",
    "started": "the worker began the task",
    "leased": "our code runs and has the lease",
    "steps": "the last step is journaled",
    "ended": "the execution has its end",
    "answered": "the caller knows",
}
"""What has happened at the end of each phase."""


def workflow() -> dict[str, Any]:
    """Return a workflow of one light segment."""
    steps = [f"step{number}" for number in range(1, 6)]
    tasks: list[dict[str, Any]] = [
        {"id": step, "type": "transform", "config": {"set": {"n": "{{ input.n + 1 }}"}}} for step in steps
    ]
    for task, following in pairwise(tasks):
        task["next"] = [following["id"]]
    return {"id": WORKFLOW_ID, "name": "Bench", "version": "1", "trigger": {"type": "manual"}, "tasks": tasks}


@dataclass
class Figures:
    """What was measured.

    :param milliseconds: Of each phase, of some executions one after the other.
    :param rate: Executions a second, of many at once.
    :param cpu: Seconds of a core for each of those many, by part of the platform.
    """

    milliseconds: dict[str, list[float]]
    rate: float
    cpu: dict[str, float]


def measure(platform: Platform) -> Figures:
    """Run the executions."""
    published = platform.publish(workflow())
    dag_id = str(published["dag_id"])
    platform.until(lambda: platform.airflow_has(dag_id, published["digest"]))
    platform.wait(platform.execute(WORKFLOW_ID, {"n": 1}))
    milliseconds: dict[str, list[float]] = {phase: [] for phase in PHASES}
    for _ in range(RUNS):
        moments = list(_moments(platform, dag_id))
        for phase, (before, after) in zip(PHASES, pairwise(moments), strict=True):
            milliseconds[phase].append((after - before).total_seconds() * 1000)
    before, began = cpu_seconds(platform), time.perf_counter()
    burst = [platform.execute(WORKFLOW_ID, {"n": 1}) for _ in range(BURST)]
    for execution_id in burst:
        platform.wait(execution_id, 300)
    rate = BURST / (time.perf_counter() - began)
    for execution_id in burst:
        platform.airflow_run_state(dag_id, execution_id)
    after = cpu_seconds(platform)
    return Figures(milliseconds, rate, {key: (after[key] - before[key]) / BURST for key in after})


def _moments(platform: Platform, dag_id: str) -> Iterator[datetime]:
    """Run one execution; yield when it began and when each phase ended."""
    yield datetime.now(UTC)
    execution_id = platform.execute(WORKFLOW_ID, {"n": 1})
    platform.wait(execution_id)
    answered = datetime.now(UTC)
    run = platform.airflow.get(f"/api/v2/dags/{dag_id}/dagRuns/{execution_id}").raise_for_status().json()
    path = f"/api/v2/dags/{dag_id}/dagRuns/{execution_id}/taskInstances"
    [task] = platform.airflow.get(path).raise_for_status().json()["task_instances"]
    accepted, relayed, leased, steps, ended = _of_control_plane(platform, execution_id)
    yield from (accepted, relayed)
    # What begins in the triggerer is never queued for a worker, and starts when its trigger is stored.
    queued = task["queued_when"] or task["start_date"]
    yield from (datetime.fromisoformat(moment) for moment in (run["queued_at"], queued, task["start_date"]))
    yield from (leased, steps, ended, answered)


def _of_control_plane(platform: Platform, execution_id: str) -> tuple[datetime, ...]:
    connection = psycopg2.connect(platform.cluster.url("agent_factory"))
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT accepted_at, relayed_at, started_at, (SELECT max(journaled_at) FROM execution_steps"
                " WHERE execution_id = e.id), completed_at FROM workflow_executions e WHERE id = %s",
                (execution_id,),
            )
            return tuple(cursor.fetchone() or ())
    finally:
        connection.close()


def table(workers: Figures, triggerer: Figures) -> str:
    """Return the figures of both ways to start the segment, side by side."""
    both = (workers, triggerer)
    lines = [
        f"{'':<11}{'workers, ms':>18}{'triggerer, ms':>18}",
        f"{'phase':<11}{'median':>9}{'max':>9}{'median':>9}{'max':>9}",
    ]
    for phase, meaning in PHASES.items():
        cells = [figures.milliseconds[phase] for figures in both]
        lines.append(f"{phase:<11}{_cells(cells)}  {meaning}")
    wholes = [[sum(each) for each in zip(*figures.milliseconds.values(), strict=True)] for figures in both]
    lines.append(f"{'whole':<11}{_cells(wholes)}")
    lines.append(f"{BURST} at once, executions a second: {workers.rate:.1f} and {triggerer.rate:.1f}")
    for name, figures in (("workers", workers), ("triggerer", triggerer)):
        parts = ", ".join(f"{key} {seconds:.2f}" for key, seconds in figures.cpu.items())
        lines.append(f"CPU seconds of each, {name}: {sum(figures.cpu.values()):.2f} ({parts})")
    return "\n".join(lines)


def _cells(columns: list[list[float]]) -> str:
    return "".join(f"{statistics.median(values):>9.0f}{max(values):>9.0f}" for values in columns)
