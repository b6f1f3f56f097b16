"""What row-level security costs a request: ``python -m tests.benchmarks.tenancy``.

The same application on the same database, in turns: as its own role, and as a superuser whose transactions set
nothing, as before. Requests go through the whole application in this process, to a PostgreSQL behind a Unix socket.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
from sqlalchemy.engine import make_url

from api import starting
from api.app import create_app
from api.database import Database
from api.migrate import migrate
from api.runtime import repository as runtime
from api.settings import Settings
from tests.api.control_plane import UNIT, ControlPlane, lease_request
from tests.benchmarks.running import machine_line
from tests.support import running_postgres

ROUNDS = 300


class Unprotected(Database):
    """As before: no organisation, no role."""

    def transaction(self, organization_id: Any) -> Any:
        """Give a session of nobody's."""
        return self.without_organization()

    def system(self) -> Any:
        """Give a session of nobody's."""
        return self.without_organization()


async def _nothing(*_: Any) -> None:
    """Do nothing."""


@asynccontextmanager
async def serving(url: str) -> AsyncIterator[ControlPlane]:
    """Serve a control plane in this process."""
    app = create_app(Settings(database_url=url, api_token="api-token", runtime_token="runtime-token", relay=False))
    async with app.router.lifespan_context(app), ControlPlane(app, httpx.ASGITransport(app)) as plane:
        yield plane


async def calls(plane: ControlPlane) -> dict[str, Callable[[], Awaitable[httpx.Response]]]:
    """Return what is measured."""
    digest = (await plane.publish())["digest"]
    execution_id = await plane.execute()
    token = (await plane.lease(execution_id, digest))["token"]
    body = {"workflow_id": "greet", "input": {"name": "Ann"}}
    beat = {"unit": UNIT, "token": token}
    request = lease_request(digest)
    return {
        "accept (POST workflows/execute)": lambda: plane.api.post("/api/v1/workflows/execute", json=body),
        "read (GET executions/{id})": lambda: plane.api.get(f"/api/v1/executions/{execution_id}"),
        "read (GET approvals)": lambda: plane.api.get("/api/v1/approvals"),
        "runtime: heartbeat": lambda: plane.call(execution_id, "heartbeat", beat),
        "runtime: lease": lambda: plane.call(execution_id, "lease", {**request, "unit": "other"}),
    }


async def measure(before_url: str, after_url: str) -> None:
    """Print median milliseconds of each call, before and after, measured in turns."""
    async with AsyncExitStack() as stack:
        after = await stack.enter_async_context(serving(after_url))
        check, narrow = starting.refuse_unbound_role, runtime.narrow
        starting.refuse_unbound_role = _nothing
        before = await stack.enter_async_context(serving(before_url))
        starting.refuse_unbound_role = check
        old = before.app.state.database
        before.app.state.database = Unprotected(before.app.state.settings)
        await old.close()
        stack.push_async_callback(before.app.state.database.close)
        pairs = {"before": (await calls(before), _nothing), "after": (await calls(after), narrow)}
        for name in pairs["after"][0]:
            times: dict[str, list[float]] = {"before": [], "after": []}
            for _ in range(ROUNDS):
                for side, (functions, narrows) in pairs.items():
                    runtime.narrow = narrows
                    begin = time.perf_counter()
                    response = await functions[name]()
                    times[side].append((time.perf_counter() - begin) * 1000)
                    assert response.is_success, response.text
            medians = [statistics.median(times[side]) for side in ("before", "after")]
            quartiles = [statistics.quantiles(times[side], n=4)[0] for side in ("before", "after")]
            print(f"{name:<34}" + "".join(f"{value:>9.2f}" for value in (*medians, *quartiles)), flush=True)


def main() -> None:
    """Measure and print."""
    print(machine_line())
    print(f"\n{'ms, median and lower quartile':<34}{'before':>9}{'after':>9}{'before':>9}{'after':>9}")
    with running_postgres() as cluster:
        cluster.ensure_database("bench")
        cluster.ensure_app_role()
        migrate(make_url(cluster.url("bench", "postgresql+psycopg2")))
        asyncio.run(measure(cluster.url("bench"), cluster.app_url("bench")))


if __name__ == "__main__":
    main()
