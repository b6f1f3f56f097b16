"""Prints how fast compiling, the relay, fusion and an execution's phases are: ``python -m tests.benchmarks``.

Figures, no test: only a part that does not run makes it fail, never a time.
"""

from __future__ import annotations

import os

from api.platform import airflow
from operators.settings import SEGMENTS_IN_TRIGGERER
from tests.benchmarks import backlog, code_steps, compile_speed, fusion, idle, latency, pods, relay
from tests.benchmarks.running import machine_line, running_platform


def main() -> None:
    """Measure and print; the compiler first, while the machine is quiet."""
    print(machine_line())
    print("\nCompiling, workflows x tasks of each:", flush=True)
    compile_speed.main()
    print(f"\nA relay's look with {relay.BACKLOG:,} executions waiting:", flush=True)
    relay.main()
    print(f"\nRunning {fusion.STEPS} chained transforms, {fusion.RUNS} runs of each in turn:", flush=True)
    with running_platform() as platform:
        print(f"scheduler_idle_sleep_time {airflow.scheduler_idle_seconds(os.environ)} s", flush=True)
        figures = fusion.table(*fusion.measure(platform))
        print(figures)
        print(f"\nCode steps that compute Fibonacci numbers, chained, {code_steps.RUNS} runs of each:", flush=True)
        print(code_steps.table(code_steps.measure(platform)))
        print("\nMore executions than workers, asked for at once:", flush=True)
        print(backlog.measure(platform))
        workers = latency.measure(platform)
        print(f"\nIdle, percent of a core, {idle.SECONDS:.0f} s each:", flush=True)
        print(idle.table(idle.measure(platform)))
    print(f"\nOne light segment of five steps, {latency.RUNS} executions one after the other:", flush=True)
    os.environ[SEGMENTS_IN_TRIGGERER] = "1"
    with running_platform() as platform:
        print(latency.table(workers, latency.measure(platform)))
    print(f"\nCode steps in pods, chained, without Airflow, {pods.RUNS} runs of each:", flush=True)
    pods.main()


if __name__ == "__main__":
    main()
