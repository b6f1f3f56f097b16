"""What a map whose items wait costs, and what an Airflow task for each item would: ``python -m tests.benchmarks.maps``.

The second is measured with as many ``wait`` tasks side by side and one that joins them: that many tasks Airflow would
have to run for mapped items too, besides an opening and a closing one.
"""

from __future__ import annotations

import statistics
from typing import Any

from tests.benchmarks.running import machine_line, running_platform
from tests.support import Platform

ITEMS = 20
RUNS = 5
SECONDS = 0.1


def document(name: str, *tasks: dict[str, Any]) -> dict[str, Any]:
    """Return a workflow; the child is one that maps call."""
    return {"id": f"bench_{name}", "name": name, "version": "1", "trigger": {"type": "manual"}, "tasks": list(tasks)}


def transform(task_id: str) -> dict[str, Any]:
    """Return a task that does next to nothing."""
    return {"id": task_id, "type": "transform", "config": {"set": {"n": 1}}}


def mapped(name: str, *tasks: dict[str, Any]) -> dict[str, Any]:
    """Return a workflow that maps all items at once."""
    config = {"over": "{{ input.items }}", "concurrency": ITEMS, "tasks": list(tasks)}
    return document(name, {"id": "many", "type": "map", "config": config})


def workflows() -> list[dict[str, Any]]:
    """Return what is measured, after the workflow that is called."""
    wait = {"type": "wait", "config": {"seconds": SECONDS}}
    call = {"id": "call", "type": "workflow", "config": {"workflow": "bench_child", "input": {}}}
    tasks = [{"id": f"w{number}", **wait, "next": ["join"]} for number in range(ITEMS)]
    return [
        document("child", transform("one")),
        mapped("map_of_waits", {"id": "w", **wait, "next": ["after"]}, transform("after")),
        document("tasks_side_by_side", *tasks, transform("join")),
        mapped("map_of_calls", call),
    ]


def measure(platform: Platform) -> dict[str, list[float]]:
    """Return the seconds from acceptance to the end of some executions of each workflow, in turns."""
    published = {each["id"]: platform.publish(each) for each in workflows()}
    for each in published.values():
        platform.until(lambda each=each: platform.airflow_has(each["dag_id"], each["digest"]))
    names = list(published)[1:]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for run in range(RUNS + 1):
        for name in names:
            ended = platform.wait(platform.execute(name, {"items": list(range(ITEMS))}))
            assert ended["status"] == "success", ended["error"]
            if run:  # The first of each is a warm-up.
                seconds[name].append(ended["duration_ms"] / 1000)
    return seconds


def main() -> None:
    """Measure and print."""
    print(machine_line())
    with running_platform() as platform:
        for name, seconds in measure(platform).items():
            listed = ", ".join(f"{each:.1f}" for each in sorted(seconds))
            print(f"{name}, {ITEMS} items: median {statistics.median(seconds):.1f} s ({listed})", flush=True)


if __name__ == "__main__":
    main()
