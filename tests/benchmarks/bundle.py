"""Prints how fast Airflow follows publishes, with many workflows: ``python -m tests.benchmarks.bundle [COUNT...]``.

Figures, no test. The workflows are put into the database in one go, for publishing each would take the longest time.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import psycopg2
from psycopg2.extras import execute_values

from compiler import compile_workflow
from tests.benchmarks import fusion
from tests.benchmarks.running import machine_line, running_platform
from tests.support import Platform

COUNTS = (1_000, 10_000)
PUBLISHES = 20
IDLE_SECONDS = 60.0
ORGANIZATION = "default"

ADD_AGENTS = """
    INSERT INTO agents (organization_id, workflow_id, name)
    SELECT o.id, v.id, v.id FROM organizations o, (VALUES %s) AS v (id)
"""
ADD_VERSIONS = """
    INSERT INTO workflow_versions
        (organization_id, agent_id, number, label, source, plan_digest, dag_digest, dag_id)
    SELECT a.organization_id, a.id, 1, '1', '', v.plan, v.dag, v.dag_id
    FROM (VALUES %s) AS v (id, plan, dag, dag_id) JOIN agents a ON a.workflow_id = v.id
"""
ADD_ARTIFACTS = """
    INSERT INTO artifacts (organization_id, sha256, content, size)
    SELECT o.id, v.* FROM organizations o, (VALUES %s) AS v
"""
ADD_RELEASE = """
    INSERT INTO releases (number)
    SELECT coalesce(max(number), 0) + v.n FROM (VALUES %s) AS v (n) LEFT JOIN releases ON true GROUP BY v.n
"""
ADD_FILES = """
    INSERT INTO release_artifacts (organization_id, name, valid_from, sha256, size)
    SELECT o.id, v.name, (SELECT max(number) FROM releases), v.sha256, v.size
    FROM organizations o, (VALUES %s) AS v (name, sha256, size)
"""


def workflow(number: int, label: str = "1") -> dict[str, Any]:
    """Return one of the many workflows."""
    return fusion.workflow(f"many_{number}", "auto") | {"version": label}


def publish_many(platform: Platform, numbers: range) -> None:
    """Make one release that has so many new workflows, as publishing each would, without telling Airflow."""
    plans, artifacts = [], []
    for number in numbers:
        compilation = compile_workflow(json.dumps(workflow(number)), organization=ORGANIZATION)
        assert compilation.plan is not None
        plans.append((compilation.plan.workflow_id, compilation.plan.dag_id, compilation.digest))
        for name, content in compilation.files.items():
            artifacts.append((name, hashlib.sha256(content).hexdigest(), content, len(content)))
    files = [(name, sha256, size) for name, sha256, _, size in artifacts]
    digests = {name: sha256 for name, sha256, _ in files}
    versions = [(workflow_id, digest, digests[f"{dag_id}.py"], dag_id) for workflow_id, dag_id, digest in plans]
    connection = psycopg2.connect(platform.cluster.url("agent_factory"))
    with connection, connection.cursor() as cursor:
        for statement, rows in (
            (ADD_AGENTS, [(workflow_id,) for workflow_id, _, _ in plans]),
            (ADD_VERSIONS, versions),
            (ADD_ARTIFACTS, [row[1:] for row in artifacts]),
            (ADD_RELEASE, [(1,)]),
            (ADD_FILES, files),
        ):
            execute_values(cursor, statement, rows, page_size=1000)
    connection.close()


class AirflowDatabase:
    """What Airflow has loaded, asked of its database, so that asking costs the platform little."""

    def __init__(self, platform: Platform) -> None:
        self._connection = psycopg2.connect(platform.cluster.url("airflow"))
        self._connection.autocommit = True

    def _ask(self, statement: str, *values: object) -> Any:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values)
            row = cursor.fetchone()
            return row[0] if row else None

    def now(self) -> Any:
        """Return the database's time."""
        return self._ask("SELECT now()")

    def loaded_since(self, moment: Any) -> int:
        """Return how many DAGs were parsed after a moment."""
        return int(self._ask("SELECT count(*) FROM dag WHERE NOT is_stale AND last_parsed_time > %s", moment))

    def is_quiet(self) -> bool:
        """Tell whether the DAG processor has nothing left to parse."""
        return bool(self._ask("SELECT max(last_parsed_time) < now() - interval '5 seconds' FROM dag"))

    def has(self, published: dict[str, Any]) -> bool:
        """Tell whether a run would start on a published version."""
        tag = f"plan:{published['digest'][:12]}"
        return bool(self._ask("SELECT count(*) FROM dag_tag WHERE dag_id = %s AND name = %s", published["dag_id"], tag))


def wait(condition: Callable[[], bool], seconds: float = 1800.0) -> float:
    """Return the seconds until something is true.

    :raises RuntimeError: It does not become true.
    """
    start = time.perf_counter()
    while not condition():
        if time.perf_counter() - start > seconds:
            raise RuntimeError(f"not true within {seconds:g} s")
        time.sleep(0.02)
    return time.perf_counter() - start


def measure_publishes(platform: Platform, airflow: AirflowDatabase, count: int) -> tuple[list[float], list[float]]:
    """Return the seconds from the request until a run could start: of single publishes, of second ones at once."""
    single, second = [], []
    publishes = PUBLISHES if count <= COUNTS[0] else PUBLISHES // 2
    for number in range(publishes):
        for times, label in ((single, "a"), (second, "b")):
            name = f"{label}{number}-{count}"
            document = workflow(number * count // publishes, name)
            start = time.perf_counter()
            published = platform.publish(document)
            if times is second:
                start = time.perf_counter()
                published = platform.publish(document | {"version": f"{name}-again"})
            wait(lambda published=published: airflow.has(published))  # type: ignore[misc]
            times.append(time.perf_counter() - start)
    return single, second


def processor(platform: Platform) -> psutil.Process:
    """Return Airflow's DAG processor, not one of its children."""
    for process in psutil.process_iter():
        try:
            ours = process.environ().get("AGENT_FACTORY_API_URL") == platform.home.api_url
            if ours and _is_processor(process) and not _is_processor(process.parent()):
                return process
        except psutil.Error:
            continue
    raise RuntimeError("the platform must have a DAG processor; there is none")


def _is_processor(process: psutil.Process | None) -> bool:
    return process is not None and "dag-processor" in " ".join(process.cmdline())


def measure_idle(platform: Platform) -> float:
    """Return which part of a core the DAG processor takes while nothing happens, in percent."""
    process = processor(platform)
    before = sum(process.cpu_times()[:4])
    time.sleep(IDLE_SECONDS)
    return 100.0 * (sum(process.cpu_times()[:4]) - before) / IDLE_SECONDS


def measure_restart(platform: Platform, airflow: AirflowDatabase, count: int) -> float:
    """Stop the DAG processor; return the seconds until the one that follows has loaded everything."""
    start, moment = time.perf_counter(), airflow.now()
    processor(platform).terminate()
    wait(lambda: airflow.loaded_since(moment) >= count)
    return time.perf_counter() - start


def line(times: list[float]) -> str:
    """Return median, 95th percentile and maximum of seconds."""
    p95 = statistics.quantiles(times, n=20, method="inclusive")[-1]
    return f"p50 {statistics.median(times):.2f} s, p95 {p95:.2f} s, max {max(times):.2f} s"


@contextmanager
def reported(what: str) -> Iterator[list[str]]:
    """Print what was measured beside the load of the machine at that time."""
    figures: list[str] = []
    yield figures
    print(f"  {what:<28} {', '.join(figures):<44} (load {os.getloadavg()[0]:.1f})", flush=True)


def measure(platform: Platform, airflow: AirflowDatabase, before: int, count: int) -> None:
    """Publish up to ``count`` workflows, and print the figures with them."""
    print(f"{count:,} workflows:", flush=True)
    with reported("published") as figures:
        start, moment = time.perf_counter(), airflow.now()
        publish_many(platform, range(before, count))
        figures.append(f"{time.perf_counter() - start:.0f} s")
    with reported("loaded first") as figures:
        platform.publish(workflow(0, f"first-{count}"))
        figures.append(f"{wait(lambda: airflow.loaded_since(moment) >= count):.0f} s")
    # Airflow looks for changed files only when its queue is empty.
    wait(airflow.is_quiet)
    single, second = measure_publishes(platform, airflow, count)
    for what, times in (("publish to runnable", single), ("second publish at once", second)):
        with reported(what) as figures:
            figures.append(line(times))
    wait(airflow.is_quiet)
    with reported("DAG processor, idle") as figures:
        figures.append(f"{measure_idle(platform):.1f} % of a core")
    with reported("DAG processor, restarted") as figures:
        figures.append(f"everything loaded after {measure_restart(platform, airflow, count):.0f} s")


def main() -> None:
    """Measure with each number of workflows, growing."""
    counts = [int(argument) for argument in sys.argv[1:]] or list(COUNTS)
    print(machine_line(), flush=True)
    with running_platform() as platform:
        airflow, before = AirflowDatabase(platform), 0
        for count in counts:
            measure(platform, airflow, before, count)
            before = count


if __name__ == "__main__":
    main()
