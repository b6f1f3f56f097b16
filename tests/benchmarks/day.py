"""A day in minutes: thousands of executions through a control plane, what they leave behind, and upkeep after it.

``python -m tests.benchmarks.day --executions 5000``. Each execution is accepted over HTTP and run by the real runner
over the runtime API, as a worker does; only Airflow's scheduling is left out. Prints figures and, for each bound,
whether it was met; exits with 1 where one was not.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import orjson
import psutil
import psycopg2
from sqlalchemy.engine import make_url

from api.database import Database
from api.migrate import migrate
from api.platform.postgres import Cluster
from api.relay.airflow import AirflowClient
from api.settings import Settings
from api.upkeep.partitions.months import Month
from api.upkeep.partitions.repository import PartitionRepository
from api.upkeep.partitions.service import make_partitions
from api.upkeep.retention.service import keep_retention
from api.upkeep.tools import Counts, Tools
from api.workflows.plans import PlanCache
from compiler import compile_workflow
from compiler.plan import Plan, plan_digest
from operators.execution.http import HttpStore
from operators.execution.runner import run_unit, store_services
from operators.settings import RuntimeSettings
from tests.benchmarks import fusion
from tests.support import free_ports, running_postgres

WORKFLOW = "bench_day"
TABLES = ("workflow_executions", "execution_steps", "leases", "outbox")
READS = 200
MEBIBYTE = 1024 * 1024


@dataclass
class Journal:
    """Times of the calls of one kind, in milliseconds."""

    calls: list[float] = field(default_factory=list)

    def line(self) -> str:
        """Return median and 95th percentile."""
        cuts = statistics.quantiles(self.calls, n=20)
        return f"{statistics.median(self.calls):.1f} ms median, {cuts[-1]:.1f} ms at 95 %"


@dataclass
class Plant:
    """A control plane in a process of its own, its database, and the workflow that is run in it."""

    url: str
    settings: Settings
    process: psutil.Process
    plan: Plan
    journal: Journal = field(default_factory=Journal)

    def memory(self) -> int:
        """Return the control plane's resident memory, in bytes."""
        return int(self.process.memory_info().rss)


class MeasuredStore(HttpStore):
    """Times the journal's calls."""

    journal_calls: Journal

    async def journal(self, execution_id: str, entry: Any) -> Any:
        """Journal, and note how long it took."""
        begin = time.perf_counter()
        state = await super().journal(execution_id, entry)
        self.journal_calls.calls.append((time.perf_counter() - begin) * 1000)
        return state


@contextmanager
def running_plant(cluster: Cluster, revision: str = "head") -> Iterator[Plant]:
    """Migrate a database and serve the control plane on it, without a relay."""
    cluster.ensure_database("day")
    cluster.ensure_app_role()
    migrate(make_url(cluster.url("day", "postgresql+psycopg2")), revision)
    [port] = free_ports(1)
    values = {
        "AGENT_FACTORY_DATABASE_URL": cluster.app_url("day"), "AGENT_FACTORY_API_TOKEN": "api",
        "AGENT_FACTORY_RUNTIME_TOKEN": "runtime", "AGENT_FACTORY_API_PORT": str(port), "AGENT_FACTORY_RELAY": "false",
        "AGENT_FACTORY_AIRFLOW_URL": "http://127.0.0.1:9",
    }  # fmt: skip
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AGENT_FACTORY_")}
    server = subprocess.Popen([sys.executable, "-m", "api"], env=kept | values, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(transport=httpx.HTTPTransport(retries=12), base_url=url, trust_env=False) as client:
            client.get("/health").raise_for_status()
            document = fusion.workflow(WORKFLOW, "auto")
            client.headers["authorization"] = "Bearer api"
            client.post(f"/api/v1/workflows/{WORKFLOW}/publish", json=document, timeout=60).raise_for_status()
        plan = compile_workflow(orjson.dumps(document), organization="default").plan
        assert plan is not None
        settings = Settings(database_url=cluster.app_url("day"), api_token="api", runtime_token="runtime", relay=False)
        yield Plant(url, settings, psutil.Process(server.pid), plan)
    finally:
        server.terminate()
        server.wait()


@asynccontextmanager
async def clients(plant: Plant) -> AsyncIterator[tuple[httpx.AsyncClient, MeasuredStore]]:
    """A caller and a worker."""
    headers = {"authorization": "Bearer api"}
    # Shorter than the server keeps an idle connection.
    limits = httpx.Limits(keepalive_expiry=2)
    async with (
        httpx.AsyncClient(base_url=plant.url, headers=headers, timeout=60, trust_env=False, limits=limits) as caller,
        MeasuredStore(RuntimeSettings(plant.url, "runtime")) as store,
    ):
        store.journal_calls = plant.journal
        yield caller, store


async def execute(plant: Plant, caller: httpx.AsyncClient, store: HttpStore) -> str:
    """Have one execution accepted, run it, and return its id."""
    response = await caller.post("/api/v1/workflows/execute", json={"workflow_id": WORKFLOW, "input": {"n": 0}})
    execution_id = str(response.raise_for_status().json()["execution_id"])
    services = store_services(store, execution_id)
    (unit,) = plant.plan.units
    try:
        outcome = await run_unit(
            plant.plan, unit.id, store, services,
            execution_id=execution_id, owner="bench", plan_digest=plan_digest(plant.plan.to_bytes()),
        )  # fmt: skip
    finally:
        await services.close()
    if outcome.status != "success":
        raise RuntimeError(f"execution {execution_id} must succeed; got {outcome}")
    return execution_id


async def run_day(plant: Plant, count: int, parallel: int) -> list[str]:
    """Run many executions, some at a time; return their ids."""
    ids: list[str] = []
    numbers = iter(range(count))

    async def work(caller: httpx.AsyncClient, store: HttpStore) -> None:
        for _ in numbers:
            ids.append(await execute(plant, caller, store))

    async with clients(plant) as (caller, store):
        await asyncio.gather(*(work(caller, store) for _ in range(parallel)))
    return ids


async def read_executions(plant: Plant, ids: list[str]) -> float:
    """Return the median time of seeing one execution, in milliseconds."""
    async with clients(plant) as (caller, _):

        async def look(number: int) -> None:
            (await caller.get(f"/api/v1/executions/{ids[number % len(ids)]}")).raise_for_status()

        return await _median(look)


async def list_executions(plant: Plant) -> float:
    """Return the median time of the newest 50 executions of a workflow in the database, in milliseconds."""
    query = (
        "SELECT id, status, accepted_at, completed_at FROM workflow_executions"
        " WHERE organization_id = %s AND agent_id = %s ORDER BY accepted_at DESC LIMIT 50"
    )
    with _cursor(plant) as cursor:
        cursor.execute("SELECT organization_id, id FROM agents")
        workflow = cursor.fetchone()

        async def look(number: int) -> None:
            cursor.execute(query, workflow)
            cursor.fetchall()

        return await _median(look)


async def _median(look: Callable[[int], Awaitable[None]]) -> float:
    times = []
    for number in range(READS):
        begin = time.perf_counter()
        await look(number)
        times.append((time.perf_counter() - begin) * 1000)
    return statistics.median(times)


@contextmanager
def _cursor(plant: Plant) -> Iterator[Any]:
    connection = psycopg2.connect(plant.settings.database_url)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


def sizes(plant: Plant) -> dict[str, int]:
    """Return what tables take up on disk with indexes and partitions, and the whole database, in bytes."""
    with _cursor(plant) as cursor:
        found = {}
        for table in TABLES:
            cursor.execute(
                "SELECT sum(pg_total_relation_size(relid)) FROM (SELECT relid FROM pg_partition_tree(%s)"
                " UNION SELECT CAST(%s AS regclass)) AS parts",
                (table, table),
            )
            found[table] = int(cursor.fetchone()[0])
        cursor.execute("SELECT pg_database_size(current_database())")
        return found | {"database": int(cursor.fetchone()[0])}


async def keep_up(plant: Plant) -> tuple[Counts, float]:
    """Let the day be long past for the jobs of upkeep; return their counts, and the longest call beside them, in s.

    The calls lock an execution that is not there: they wait for the tables as all calls of runners do.
    """
    settings = plant.settings
    database, airflow = Database(settings), AirflowClient(settings)
    tools = Tools(settings, database, airflow, PlanCache())
    longest = 0.0
    try:
        async with database.system() as session:
            now = await PartitionRepository(session).now()
        later = Month.of(now).after(1).start + timedelta(days=settings.retention_days + 1)
        job = asyncio.ensure_future(_both(tools, later))
        headers = {"authorization": "Bearer runtime"}
        async with httpx.AsyncClient(base_url=plant.url, headers=headers, timeout=60, trust_env=False) as runner:
            path, body = f"/runtime/v1/executions/{uuid4()}/heartbeat", {"unit": "u", "token": 1}
            while not job.done():
                begin = time.perf_counter()
                assert (await runner.post(path, json=body)).status_code == 404
                longest = max(longest, time.perf_counter() - begin)
        return await job, longest
    finally:
        await airflow.close()
        await database.close()


async def _both(tools: Tools, later: Any) -> Counts:
    return {**await make_partitions(tools, later), **await keep_retention(tools, later)}


def vacuum(plant: Plant) -> None:
    """Give back what is free."""
    with _cursor(plant) as cursor:
        cursor.execute("VACUUM (ANALYZE)")


class Bounds:
    """What the figures must be; collects what was not met."""

    def __init__(self) -> None:
        self.missed = 0

    def check(self, name: str, value: float, most: float, unit: str) -> None:
        """Print a figure beside its bound."""
        met = value <= most
        self.missed += not met
        print(f"  {'met' if met else 'NOT MET':<8}{name}: {value:.1f} {unit} (at most {most:.1f})", flush=True)


def show_sizes(title: str, found: dict[str, int]) -> None:
    """Print sizes, in MiB."""
    print(f"{title:<22}" + "".join(f"{name} {size / MEBIBYTE:.1f}   " for name, size in found.items()), flush=True)


async def measure(plant: Plant, count: int, parallel: int) -> int:
    """Run the day and all after it; return how many bounds were not met."""
    few = await run_day(plant, 50, parallel)
    plant.journal.calls.clear()
    first_sizes, first_memory = sizes(plant), plant.memory()
    first_read, first_list = await read_executions(plant, few), await list_executions(plant)
    show_sizes("MiB before", first_sizes)

    begin = time.perf_counter()
    ids = await run_day(plant, count, parallel)
    seconds = time.perf_counter() - begin
    vacuum(plant)
    full, memory = sizes(plant), plant.memory()
    show_sizes(f"MiB after {count}", full)
    print(
        f"{count} executions in {seconds:.0f} s, {count / seconds:.1f} a second; journal calls {plant.journal.line()}"
    )
    last_read, last_list = await read_executions(plant, ids), await list_executions(plant)
    print(f"one execution: {first_read:.1f} ms before, {last_read:.1f} ms after")
    print(f"newest 50 of a workflow: {first_list:.2f} ms before, {last_list:.2f} ms after")
    print(f"memory of the control plane: {first_memory / MEBIBYTE:.0f} MiB before, {memory / MEBIBYTE:.0f} MiB after")

    counts, longest = await keep_up(plant)
    vacuum(plant)
    left = sizes(plant)
    show_sizes("MiB after retention", left)
    print("counts of upkeep: " + ", ".join(f"{name} {number}" for name, number in counts.items() if number))

    bounds = Bounds()
    each = (full["database"] - first_sizes["database"]) / count / 1024
    bounds.check("disk for each execution of five steps", each, 4, "KiB")
    bounds.check("memory added", (memory - first_memory) / MEBIBYTE, 60, "MiB")
    bounds.check("one execution, read after the day", last_read, 50, "ms")
    bounds.check("newest 50 of a workflow after the day", last_list, 10, "ms")
    bounds.check("longest call of a runner beside upkeep", longest, 1, "s")
    surplus = (left["database"] - first_sizes["database"]) / MEBIBYTE
    bounds.check("database after retention, above the beginning", surplus, 5, "MiB")
    return bounds.missed


def main() -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--executions", type=int, default=5000)
    parser.add_argument("--parallel", type=int, default=8)
    options = parser.parse_args()
    with running_postgres() as cluster, running_plant(cluster) as plant:
        return 1 if asyncio.run(measure(plant, options.executions, options.parallel)) else 0


if __name__ == "__main__":
    sys.exit(main())
