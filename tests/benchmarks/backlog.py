"""When executions end that are asked for all at once, more than the platform has workers for.

Many of a chain of five steps, each an Airflow task, and after them a few of a workflow that is one task. A platform
that goes on with what it has begun ends the chains one after the other, and lets the late ones in by their turn; one
that begins everything first ends everything last. ``python -m tests.benchmarks.backlog`` runs it by itself.
"""

from __future__ import annotations

import statistics
from datetime import datetime
from typing import Any

from tests.benchmarks import fusion
from tests.benchmarks.running import machine_line, running_platform
from tests.support import Platform

CHAINS = 30
LATE = 5


def measure(platform: Platform) -> str:
    """Return the figures: seconds from the first acceptance to the ends.

    :raises RuntimeError: An execution did not succeed.
    """
    chain, single = fusion.workflow("bench_backlog_chain", "off"), fusion.workflow("bench_backlog_single", "auto")
    for document in (chain, single):
        published = platform.publish(document)
        platform.until(lambda published=published: platform.airflow_has(published["dag_id"], published["digest"]))
        platform.wait(platform.execute(document["id"], {"n": 0}))
    started = [platform.execute(chain["id"], {"n": 0}) for _ in range(CHAINS)]
    started += [platform.execute(single["id"], {"n": 0}) for _ in range(LATE)]
    executions = [platform.wait(execution_id, 900) for execution_id in started]
    if failed := [execution for execution in executions if execution["status"] != "success"]:
        raise RuntimeError(f"every execution must succeed; got {failed[0]}")
    begin = _time(executions[0], "accepted_at")
    ends = [_time(execution, "completed_at") - begin for execution in executions]
    chains, late = sorted(ends[:CHAINS]), sorted(ends[CHAINS:])
    return (
        f"{CHAINS} chains of {fusion.STEPS} tasks: first {chains[0]:.1f} s, median {statistics.median(chains):.1f} s, "
        f"last {chains[-1]:.1f} s; then {LATE} of one task: median {statistics.median(late):.1f} s"
    )


def _time(execution: dict[str, Any], name: str) -> float:
    return datetime.fromisoformat(execution[name]).timestamp()


if __name__ == "__main__":
    print(machine_line())
    with running_platform() as running:
        print(measure(running))
