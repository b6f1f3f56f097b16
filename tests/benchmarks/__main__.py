"""Prints how fast compiling, the relay and fusion are: ``python -m tests.benchmarks``.

Figures, no test: only a part that does not run makes it fail, never a time.
"""

from __future__ import annotations

import os
import platform as machine
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

import httpx

from api.platform import airflow, client
from api.platform.home import Home
from api.platform.postgres import Cluster, locate
from tests.benchmarks import code_steps, compile_speed, fusion, relay
from tests.support import Platform, airflow_client, temporary_home


@contextmanager
def running_platform() -> Iterator[Platform]:
    """A platform of its own in a temporary home; stopped at the end, also after an error or SIGTERM."""
    with client.stop_on_termination(), temporary_home() as home:
        running = client.start(home, detach=False, restart=True)
        try:
            running.wait_ready(lambda text: print(f"platform: {text}", flush=True))
            state = home.read_state()
            with _client(home.api_url, state["api_token"]) as http, airflow_client(home) as airflow_http:
                cluster = locate(home.path, home.credentials().postgres_password)
                yield Platform(home, state, http, airflow_http, cluster)
        finally:
            running.stop()


def _client(url: str, token: str) -> httpx.Client:
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60)


def machine_line() -> str:
    """Return what the figures depend on: cores and versions."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"Machine: {cores} cores ({machine.system()} {machine.machine()}), "
        f"Python {machine.python_version()}, Airflow {version('apache-airflow-core')}"
    )


def idle_sleep(home: Home, cluster: Cluster) -> str:
    """Return the seconds that the platform's scheduler sleeps when it has nothing to do."""
    values = airflow.settings(home, home.credentials(), cluster)
    return values["AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME"]


def main() -> None:
    """Measure and print; the compiler first, while the machine is quiet."""
    print(machine_line())
    print("\nCompiling, workflows x tasks of each:", flush=True)
    compile_speed.main()
    print(f"\nA relay's look with {relay.BACKLOG:,} executions waiting:", flush=True)
    relay.main()
    print(f"\nRunning {fusion.STEPS} chained transforms, {fusion.RUNS} runs of each in turn:", flush=True)
    with running_platform() as platform:
        print(f"scheduler_idle_sleep_time {idle_sleep(platform.home, platform.cluster)} s", flush=True)
        figures = fusion.table(*fusion.measure(platform))
        print(figures)
        print(f"\nCode steps that compute Fibonacci numbers, chained, {code_steps.RUNS} runs of each:", flush=True)
        print(code_steps.table(code_steps.measure(platform)))


if __name__ == "__main__":
    main()
