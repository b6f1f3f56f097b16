"""How quick reading is with 100,000 executions of 100 organisations in the tables.

``python -m tests.benchmarks.reads``. Rows are put into the tables directly; the questions go through the real HTTP API
of a control plane in a process of its own, one after the other. Prints median and 95th percentile of each, whether the
bound was met, and the processor time that the control plane took for one, which other load on the machine changes
less; exits with 1 where a bound was missed.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psutil

from api.platform.postgres import Cluster
from tests.api.conftest import connected
from tests.api.control_plane import workflow
from tests.api.filling import copy_workflows, fill, make_months
from tests.benchmarks.running import machine_line, prepare_database
from tests.support import free_ports, running_postgres

BOUND_MS = 50.0
DAYS = 100
WARM = 10
"""Questions that are not counted: they make connections and statements ready."""
API = "/api/v1"


@contextmanager
def serving(cluster: Cluster) -> Iterator[tuple[httpx.Client, str, psutil.Process]]:
    """Migrate a database and serve the control plane on it; give a client, the database's address and the
    server."""
    prepare_database(cluster, "reads")
    [port] = free_ports(1)
    values = {
        "AGENT_FACTORY_DATABASE_URL": cluster.app_url("reads"), "AGENT_FACTORY_API_TOKEN": "api",
        "AGENT_FACTORY_RUNTIME_TOKEN": "runtime", "AGENT_FACTORY_API_PORT": str(port), "AGENT_FACTORY_RELAY": "false",
        "AGENT_FACTORY_AIRFLOW_URL": "http://127.0.0.1:9", "AGENT_FACTORY_RATE_LIMITS": "off",
    }  # fmt: skip
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AGENT_FACTORY_")}
    server = subprocess.Popen([sys.executable, "-m", "api"], env=kept | values, stdout=subprocess.DEVNULL)
    try:
        transport = httpx.HTTPTransport(retries=12)
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(transport=transport, base_url=url, trust_env=False, timeout=60) as client:
            client.get("/health").raise_for_status()
            client.headers["authorization"] = "Bearer api"
            yield client, cluster.url("reads"), psutil.Process(server.pid)
    finally:
        server.terminate()
        server.wait()


def put_in(url: str, organizations: int, each: int) -> list[str]:
    """Fill the tables; return ids of executions of the organisation that asks."""
    with connected(url) as cursor:
        make_months(cursor, 5)
        copy_workflows(cursor, organizations - 1)
        fill(cursor, each=each, days=DAYS)
        cursor.execute("VACUUM (ANALYZE)")
        cursor.execute(
            "SELECT e.id FROM workflow_executions e JOIN organizations o ON o.id = e.organization_id"
            " WHERE o.slug = 'default' ORDER BY e.id DESC"
        )
        return [str(row[0]) for row in cursor.fetchall()]


def publish(client: httpx.Client) -> str:
    """Publish two versions of an agent, and leave a draft; return the agent's address."""
    changed = workflow() | {"description": "Greets whoever comes."}
    for document in (workflow(), changed):
        client.post(f"{API}/workflows/greet/publish", json=document).raise_for_status()
    [agent] = client.get(f"{API}/agents").raise_for_status().json()["agents"]
    return f"{API}/agents/{agent['id']}"


def questions(ids: list[str], agent: str) -> dict[str, Callable[[int], tuple[str, Any]]]:
    """Return what is asked: each gives path and query of its n-th time."""
    listed = f"{API}/executions"
    start = datetime.now(UTC) - timedelta(days=60)
    names = itertools.cycle(ids)
    return {
        "list": lambda n: (listed, {}),
        "list, 200 at a time": lambda n: (listed, {"limit": 200}),
        "of a workflow": lambda n: (listed, {"workflow_id": "greet"}),
        "of a version": lambda n: (listed, {"workflow_id": "greet", "version": 1}),
        "failed": lambda n: (listed, {"status": "failed"}),
        "failed or cancelled": lambda n: (listed, {"status": ["failed", "cancelled"]}),
        "with an error code": lambda n: (listed, {"error_code": "timeout"}),
        "started by a schedule": lambda n: (listed, {"trigger": "schedule"}),
        "of a day": lambda n: (listed, {"accepted_from": start, "accepted_before": start + timedelta(days=1)}),
        "slower than a second": lambda n: (listed, {"min_duration_ms": 1000}),
        "children of one": lambda n: (listed, {"parent_execution_id": next(names)}),
        "show": lambda n: (f"{listed}/{next(names)}", {}),
        "show, without steps": lambda n: (f"{listed}/{next(names)}", {"include": "output"}),
        "show, with what steps were given": lambda n: (f"{listed}/{next(names)}", {"include": "step_inputs"}),
        "compare": lambda n: (f"{listed}/{next(names)}/compare/{next(names)}", {}),
        "approvals": lambda n: (f"{API}/approvals", {"status": "pending"}),
        "variables": lambda n: (f"{API}/variables", {}),
        "dead letters": lambda n: (f"{API}/dead-letters", {}),
        "agents": lambda n: (f"{API}/agents", {}),
        "an agent": lambda n: (agent, {}),
        "its draft": lambda n: (f"{agent}/workflow", {}),
        "its versions": lambda n: (f"{agent}/versions", {}),
        "a version with its plan": lambda n: (f"{agent}/versions/2", {}),
        "two versions compared": lambda n: (f"{agent}/diff", {"from": 1, "to": 2}),
        "templates": lambda n: (f"{API}/templates", {}),
        "reviews": lambda n: (f"{API}/reviews", {}),
    }


def measure(client: httpx.Client, ask: Callable[[int], tuple[str, Any]], times: int) -> tuple[float, float]:
    """Return median and 95th percentile of a question, in milliseconds."""
    taken = []
    for number in range(times + WARM):
        path, query = ask(number)
        begin = time.perf_counter()
        client.get(path, params=query).raise_for_status()
        taken.append((time.perf_counter() - begin) * 1000)
    cuts = statistics.quantiles(taken[WARM:], n=20)
    return statistics.median(taken[WARM:]), cuts[-1]


def page_through(client: httpx.Client, times: int) -> tuple[float, float]:
    """Return the same of the pages behind cursors."""
    cursor: str | None = None
    taken = []
    for _ in range(times):
        begin = time.perf_counter()
        response = client.get(f"{API}/executions", params={"cursor": cursor} if cursor else {})
        taken.append((time.perf_counter() - begin) * 1000)
        cursor = response.raise_for_status().json()["next"]
    return statistics.median(taken), statistics.quantiles(taken, n=20)[-1]


def main() -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--organizations", type=int, default=100)
    parser.add_argument("--executions", type=int, default=1000, help="of each organisation")
    parser.add_argument("--times", type=int, default=300)
    options = parser.parse_args()
    print(machine_line())
    with running_postgres() as cluster, serving(cluster) as (client, url, server):
        agent = publish(client)
        ids = put_in(url, options.organizations, options.executions)
        total = options.organizations * options.executions
        print(f"{total:,} executions of {options.organizations} organisations over {DAYS} days, two steps each")
        print(f"load of the machine in the last minute: {os.getloadavg()[0]:.1f}")
        missed = 0
        for name, ask in questions(ids, agent).items():
            begin = sum(server.cpu_times()[:2])
            figures = measure(client, ask, options.times)
            used = (sum(server.cpu_times()[:2]) - begin) * 1000 / (options.times + WARM)
            missed += show(name, figures, f", {used:.1f} ms of a processor")
        missed += show("pages behind a cursor", page_through(client, min(options.times, options.executions // 50)))
    return 1 if missed else 0


def show(name: str, figures: tuple[float, float], more: str = "") -> bool:
    """Print the figures of a question beside their bound; return whether it was missed."""
    median, p95 = figures
    word = "met" if p95 <= BOUND_MS else "NOT MET"
    print(f"  {word:<8}{name:<34} {median:6.1f} ms median, {p95:6.1f} ms at 95 %{more}", flush=True)
    return p95 > BOUND_MS


if __name__ == "__main__":
    sys.exit(main())
