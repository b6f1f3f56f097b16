"""How quick an execution is accepted: verify the signature, validate the input, store it, answer 202.

``python -m tests.benchmarks.accept``. Signed webhooks (Standard Webhooks) with an input schema come at a fixed rate to
the real control plane, without its relay, in turns with the same requests to a bare FastAPI handler that writes one
row: the same PostgreSQL, as many processes. The times of arrival are fixed beforehand, and a request's time is counted
from when it was planned. Servers, PostgreSQL and load share this machine. Exits with 1 where the bound was missed.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import hmac
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import orjson
import psutil

from api.platform import client
from api.platform.postgres import Cluster
from tests.api.conftest import connected
from tests.benchmarks import bare
from tests.benchmarks.load import Call, Figures, arrivals, as_much_as_is_taken, at_rate, percentile
from tests.benchmarks.running import machine_line, prepare_database
from tests.support import free_ports, running_postgres

DATABASE = "accept"
BOUND_MS = 50.0
SENDERS = 16
MOST_SECONDS = 5.0
WARM_SECONDS = 2.0
_KEY = b"a secret of the benchmark, 32 B."
SECRET = "whsec_" + base64.b64encode(_KEY).decode()

WORKFLOW: dict[str, Any] = {
    "id": "orders",
    "name": "Orders",
    "version": "1.0",
    "trigger": {
        "type": "webhook",
        "config": {
            "path": "orders", "method": "POST", "auth": {"type": "standard_webhooks", "secret": "hook_secret"},
        },
    },
    "input": {
        "type": "object",
        "required": ["order_id", "customer", "items"],
        "additionalProperties": False,
        "properties": {
            "order_id": {"type": "string", "pattern": "^ord_[0-9a-f]{8}$"},
            "customer": {
                "type": "object",
                "required": ["email"],
                "properties": {"email": {"type": "string", "maxLength": 200}, "name": {"type": "string"}},
            },
            "items": {
                "type": "array",
                "minItems": 1,
                "maxItems": 100,
                "items": {
                    "type": "object",
                    "required": ["sku", "quantity", "price"],
                    "properties": {
                        "sku": {"type": "string"},
                        "quantity": {"type": "integer", "minimum": 1},
                        "price": {"type": "number", "minimum": 0},
                    },
                },
            },
            "note": {"type": "string", "maxLength": 1000},
        },
    },
    "tasks": [{"id": "total", "type": "transform", "config": {"set": {"order": "{{ input.order_id }}"}}}],
}  # fmt: skip

_numbers = itertools.count(1)


def make_call(url: str) -> Call:
    """Return a new signed message."""
    number = next(_numbers)
    item = {"sku": "A-1000", "quantity": 2, "price": 19.9}
    body = orjson.dumps(
        {
            "order_id": f"ord_{number:08x}",
            "customer": {"email": "ann@example.com", "name": "Ann Example"},
            "items": [item, item, item],
            "note": "Leave it at the door, please; the bell does not work. " * 3,
        }
    )
    message, now = f"msg_{number}", int(time.time())
    signature = hmac.new(_KEY, f"{message}.{now}.".encode() + body, hashlib.sha256).digest()
    headers = {
        "content-type": "application/json",
        "webhook-id": message,
        "webhook-timestamp": str(now),
        "webhook-signature": "v1," + base64.b64encode(signature).decode(),
    }
    return Call(url, headers, body)


class Side:
    """One of the two that are measured: its processes and what came of the load."""

    def __init__(self, urls: list[str], servers: list[psutil.Process]) -> None:
        self._urls = itertools.cycle(urls)
        self._servers = servers
        self.figures = Figures()
        self.most: list[float] = []
        self._used = [0.0, 0.0]

    @property
    def processor_ms(self) -> list[float]:
        """Of its own processes and of PostgreSQL's, for a request at the fixed rate."""
        return [seconds * 1000 / len(self.figures.taken) for seconds in self._used]

    def load(self, planned: list[float], *, counts: bool = True) -> None:
        """Send requests when they are planned."""
        calls = [make_call(next(self._urls)) for _ in planned]
        begin = self._processor_seconds()
        figures = asyncio.run(at_rate(calls, planned))
        if counts:
            self.figures += figures
            pairs = zip(self._used, self._processor_seconds(), begin, strict=True)
            self._used = [used + end - start for used, end, start in pairs]

    def load_fully(self) -> None:
        """Send as many as are taken."""
        calls = (make_call(next(self._urls)) for _ in itertools.count())
        self.most.append(asyncio.run(as_much_as_is_taken(calls, SENDERS, MOST_SECONDS)))

    def _processor_seconds(self) -> list[float]:
        ours = psutil.Process().children(recursive=True)
        postgres = [each for each in ours if each.name() == "postgres"]
        return [sum(sum(each.cpu_times()[:2]) for each in group) for group in (self._servers, postgres)]


@contextmanager
def serving(
    commands: list[list[str]], environment: dict[str, str], health: list[str]
) -> Iterator[list[psutil.Process]]:
    """Run servers, and wait until they answer."""
    servers = [subprocess.Popen(each, env=environment, stderr=subprocess.DEVNULL) for each in commands]
    try:
        with httpx.Client(transport=httpx.HTTPTransport(retries=12), trust_env=False, timeout=60) as http:
            for url in health:
                http.get(url)
        yield [psutil.Process(each.pid) for each in servers]
    finally:
        for each in servers:
            each.terminate()
        for each in servers:
            each.wait()


@contextmanager
def accepting(cluster: Cluster, workers: int) -> Iterator[Side]:
    """The control plane, with the workflow published."""
    ports = free_ports(workers)
    values = {
        "AGENT_FACTORY_DATABASE_URL": cluster.app_url(DATABASE), "AGENT_FACTORY_API_TOKEN": "api",
        "AGENT_FACTORY_RUNTIME_TOKEN": "runtime", "AGENT_FACTORY_RELAY": "false",
        "AGENT_FACTORY_AIRFLOW_URL": "http://127.0.0.1:9", "AGENT_FACTORY_SECRET_KEY": "k" * 32,
        # Counted as ever; only more are let in.
        "AGENT_FACTORY_RATE_LIMITS": "webhook=10000000/minute",
    }  # fmt: skip
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AGENT_FACTORY_")}
    bases = [f"http://127.0.0.1:{port}" for port in ports]
    with ExitStack() as stack:
        servers = []
        for port, base in zip(ports, bases, strict=True):
            environment = kept | values | {"AGENT_FACTORY_API_PORT": str(port)}
            servers += stack.enter_context(serving([[sys.executable, "-m", "api"]], environment, [f"{base}/health"]))
        headers = {"authorization": "Bearer api"}
        with httpx.Client(base_url=bases[0], headers=headers, trust_env=False, timeout=60) as http:
            secret = {"value": SECRET, "secret": True}
            http.put("/api/v1/variables/hook_secret", json=secret).raise_for_status()
            http.post("/api/v1/workflows/orders/publish", json=WORKFLOW).raise_for_status()
        yield Side([f"{base}/webhook/default/orders" for base in bases], servers)


@contextmanager
def writing_a_row(cluster: Cluster, workers: int) -> Iterator[Side]:
    """The bare handler."""
    with connected(cluster.url(DATABASE)) as cursor:
        cursor.execute(bare.TABLE)
        cursor.execute("GRANT INSERT, SELECT ON bare TO agent_factory_app")
    ports = free_ports(workers)
    url = cluster.app_url(DATABASE)
    commands = [[sys.executable, "-m", "tests.benchmarks.bare", str(port), url] for port in ports]
    bases = [f"http://127.0.0.1:{port}" for port in ports]
    with serving(commands, dict(os.environ), bases) as servers:
        yield Side([f"{base}/bare" for base in bases], servers)


def main() -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--workers", type=int, default=2, help="processes of the control plane, and of the bare handler"
    )
    parser.add_argument("--rate", type=int, default=200, help="requests a second")
    parser.add_argument("--seconds", type=int, default=10, help="of each round")
    parser.add_argument("--rounds", type=int, default=3, help="of each side, in turns")
    options = parser.parse_args()
    print(machine_line())
    with client.stop_on_termination(), running_postgres() as cluster:
        prepare_database(cluster, DATABASE)
        with writing_a_row(cluster, options.workers) as row, accepting(cluster, options.workers) as accept:
            sides = {"bare handler, one row": row, "accept path": accept}
            print(
                f"{options.workers} API worker(s) without relay; PostgreSQL and load on the same machine, over loopback"
            )
            print(
                f"{options.rate} requests/s planned beforehand, {options.rounds} rounds of {options.seconds} s in turns"
            )
            measure(sides, options.rate, options.seconds, options.rounds)
            for name, side in sides.items():
                show(name, side)
            word = "NOT MET" if is_missed(accept.figures) else "met"
            print(f"the accept path's p99 under {BOUND_MS:g} ms: {word}", flush=True)
            return 1 if is_missed(accept.figures) else 0


def measure(sides: dict[str, Side], rate: int, seconds: int, rounds: int) -> None:
    """Load both in turns."""
    for side in sides.values():
        side.load(arrivals(rate, int(rate * WARM_SECONDS), 0), counts=False)
    for number in range(1, rounds + 1):
        print(f"  load of the machine in the last minute: {os.getloadavg()[0]:.1f}", flush=True)
        for side in sides.values():
            side.load(arrivals(rate, rate * seconds, number))
    for side in sides.values():
        side.load_fully()


def is_missed(figures: Figures) -> bool:
    """Tell whether the bound was missed."""
    return set(figures.statuses) != {202} or percentile(figures.taken, 99) >= BOUND_MS


def show(name: str, side: Side) -> None:
    """Print the figures of a side."""
    figures, (own, postgres) = side.figures, side.processor_ms
    p50, p99 = percentile(figures.taken, 50), percentile(figures.taken, 99)
    print(
        f"  {name:<24}p50 {p50:6.1f} ms   p99 {p99:6.1f} ms   longest {max(figures.taken):6.1f} ms   "
        f"(sent late: p99 {percentile(figures.late, 99):4.1f} ms)   at most {max(side.most):5.0f} requests/s   "
        f"ms of a processor: {own:4.1f}, PostgreSQL {postgres:4.1f}",
        flush=True,
    )
    refused = {status: count for status, count in figures.statuses.items() if status != 202}
    if refused:
        print(f"  {'':<24}not accepted: {refused}")


if __name__ == "__main__":
    sys.exit(main())
