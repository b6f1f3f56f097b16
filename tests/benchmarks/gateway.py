"""What the gateway costs a request: the application with all of it, with parts of it, and without.

``python -m tests.benchmarks.gateway [requests]``. Each variant gets the same requests over loopback, one after the
other on a kept connection, in turns, so that what else the machine does falls on all of them.
"""

from __future__ import annotations

import logging
import os
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import uvicorn

from api import app as application
from api.gateway.bounds import BoundsMiddleware
from api.gateway.headers import CorsMiddleware, HeadersMiddleware
from api.gateway.logs import FIELDS, JsonFormatter
from api.gateway.observation import ObservationMiddleware
from api.gateway.server import server_options
from api.settings import Settings
from tests.benchmarks.running import prepare_database
from tests.support import running_postgres

ALL = (BoundsMiddleware, CorsMiddleware, ObservationMiddleware, HeadersMiddleware)
ROUNDS = 20

# Without logging, rates off: what each adds is a difference of two lines.
VARIANTS: dict[str, tuple[tuple[type, ...], str]] = {
    "without the gateway": ((), "off"),
    "bounds and headers": ((BoundsMiddleware, CorsMiddleware, HeadersMiddleware), "off"),
    "and metrics and access log": (ALL, "off"),
    "and rate limits in memory": (ALL, "default=1000000/minute"),
}


@contextmanager
def served(database_url: str, middlewares: tuple[type, ...], rates: str) -> Iterator[httpx.Client]:
    """A client of an application with these middlewares."""
    settings = Settings.model_validate(
        {"database_url": database_url, "api_token": "a", "runtime_token": "r", "relay": False, "rate_limits": rates}
    )
    app = application.create_app(settings)
    app.user_middleware = [entry for entry in app.user_middleware if entry.cls in middlewares]
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, **server_options(settings)))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        thread.join(0.01)
    address = server.servers[0].sockets[0].getsockname()
    with httpx.Client(base_url=f"http://127.0.0.1:{address[1]}", headers={"authorization": "Bearer a"}) as client:
        yield client
    server.should_exit = True
    thread.join()


def main() -> None:
    """Measure and print."""
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    handler = logging.StreamHandler(open(os.devnull, "w"))  # noqa: SIM115  for the process's whole life
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    assert FIELDS
    with running_postgres() as cluster, ExitStack() as stack:
        prepare_database(cluster, "gateway")
        url = cluster.app_url("gateway")
        clients = {name: stack.enter_context(served(url, *variant)) for name, variant in VARIANTS.items()}
        times: dict[str, list[float]] = {name: [] for name in clients}
        for _ in range(ROUNDS):
            for name, client in clients.items():
                times[name] += [_ask(client) for _ in range(requests // ROUNDS)]
        _print(times)


def _ask(client: httpx.Client) -> float:
    began = time.perf_counter()
    client.get("/api/v1/approvals").raise_for_status()
    return (time.perf_counter() - began) * 1000


def _print(times: dict[str, list[float]]) -> None:
    base: Any = None
    print(f"GET /api/v1/approvals, {len(next(iter(times.values())))} requests each, ms")
    for name, seconds in times.items():
        median, p95 = statistics.median(seconds), statistics.quantiles(seconds, n=20)[18]
        base = base or median
        print(f"  {name:<30} p50 {median:6.2f}   p95 {p95:6.2f}   p50 more than without {median - base:+.2f}")


if __name__ == "__main__":
    main()
