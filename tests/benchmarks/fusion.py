"""How long a workflow of five chained light steps takes on a running platform, fused and not fused.

The same steps are published twice and run in turn, so that a slow moment of the machine meets both.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tests.support import Platform

STEPS = 5
RUNS = 5
AIM = 2.0


@dataclass
class Candidate:
    """One of the two ways to run the steps. ``seconds`` are its measured runs, without the warm-up."""

    fusion: str
    dag_id: str = ""
    airflow_tasks: int = 0
    seconds: list[float] = field(default_factory=list)

    @property
    def workflow_id(self) -> str:
        """The id it is published under."""
        return f"bench_fusion_{self.fusion}"

    @property
    def median(self) -> float:
        """Median of the measured runs, in seconds."""
        return statistics.median(self.seconds)


def workflow(workflow_id: str, fusion: str) -> dict[str, Any]:
    """Return a chain of transforms, each of which adds one to the number before it."""
    tasks = [_add_one(number) for number in range(1, STEPS + 1)]
    for task, following in pairwise(tasks):
        task["next"] = [following["id"]]
    return {
        "id": workflow_id,
        "name": "Bench",
        "version": "1",
        "trigger": {"type": "manual", "config": {}},
        "settings": {"fusion": fusion},
        "tasks": tasks,
    }


def _add_one(number: int) -> dict[str, Any]:
    before = "input.n" if number == 1 else f"step{number - 1}.output.n"
    return {"id": f"step{number}", "type": "transform", "config": {"set": {"n": f"{{{{ {before} + 1 }}}}"}}}


def measure(platform: Platform, runs: int = RUNS) -> tuple[Candidate, Candidate]:
    """Run both in turn, after a warm-up of each, and return them: fused first.

    :raises RuntimeError: An execution did not give the right result.
    """
    fused, unfused = Candidate("auto"), Candidate("off")
    for candidate in (fused, unfused):
        published = platform.publish(workflow(candidate.workflow_id, candidate.fusion))
        candidate.dag_id = published["dag_id"]
    for candidate in (fused, unfused):
        _run(platform, candidate)
    for _ in range(runs):
        for candidate in (fused, unfused):
            candidate.seconds.append(_run(platform, candidate))
    return fused, unfused


def _run(platform: Platform, candidate: Candidate) -> float:
    """Return the seconds from the request until the execution's end is known."""
    start = time.perf_counter()
    execution_id = platform.execute(candidate.workflow_id, {"n": 0})
    execution = platform.wait(execution_id)
    seconds = time.perf_counter() - start
    reached = {step["id"]: step["output"] for step in execution["steps"]}.get(f"step{STEPS}")
    if execution["status"] != "success" or reached != {"n": STEPS}:
        raise RuntimeError(f"{candidate.workflow_id} must succeed with n = {STEPS}; got {execution}")
    run = f"/api/v2/dags/{candidate.dag_id}/dagRuns/{execution_id}"
    # Airflow closes its run a little later; that work must not slow the next run.
    platform.airflow.get(f"{run}/wait", params={"interval": 0.2}).raise_for_status()
    tasks = platform.airflow.get(f"{run}/taskInstances").raise_for_status().json()
    candidate.airflow_tasks = tasks["total_entries"]
    return seconds


def table(fused: Candidate, unfused: Candidate) -> str:
    """Return the figures of both, side by side."""
    rows = [
        ("Airflow tasks", fused.airflow_tasks, unfused.airflow_tasks, "d"),
        ("median, s", fused.median, unfused.median, ".3f"),
        ("min, s", min(fused.seconds), min(unfused.seconds), ".3f"),
        ("max, s", max(fused.seconds), max(unfused.seconds), ".3f"),
    ]
    lines = [f"{'':<14}{'fusion auto':>12}{'fusion off':>12}"]
    lines += [f"{name:<14}{left:>12{form}}{right:>12{form}}" for name, left, right, form in rows]
    ratio = unfused.median / fused.median
    lines.append(f"Fused is {ratio:.2f} times faster by the medians  (aim: at least {AIM:g} times)")
    return "\n".join(lines)
