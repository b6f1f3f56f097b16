"""How long a relay's look at the outbox takes while 100,000 executions wait in it.

Each figure is the median of rounds that take 8 entries and are rolled back, on a PostgreSQL of its own.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from api.migrate import migrate
from api.relay.repository import take_entries
from tests.support import running_postgres

BACKLOG = 100_000
TAKEN = 8
ROUNDS = 7
DATABASE = "bench"


@dataclass(frozen=True)
class Backlog:
    """A full outbox.

    :param limit: Of each workflow's executions, by key; None for no limit.
    :param keys: How many keys there are in an organisation.
    :param at_work: How many executions of each key are at work.
    """

    name: str
    organizations: int = 1
    limit: int | None = None
    keys: int = 1
    at_work: int = 0


BACKLOGS = (
    Backlog("1 organisation"),
    Backlog("100 organisations", organizations=100),
    Backlog("1 organisation, its one limit reached", limit=1, at_work=1),
    Backlog("1 organisation, 1,000 keys with room", limit=2, keys=1000, at_work=1),
    Backlog("100 organisations, their limits reached", organizations=100, limit=1, at_work=1),
)

ORGANIZATIONS = (
    "INSERT INTO organizations (slug, name) SELECT 'org-' || n, 'x' FROM generate_series(1, :organizations) n"
)
AGENTS = "INSERT INTO agents (organization_id, workflow_id, name) SELECT id, 'bench', 'x' FROM organizations"
VERSIONS = """
    INSERT INTO workflow_versions (organization_id, agent_id, number, label, source, plan_digest, dag_digest, dag_id)
    SELECT organization_id, id, 1, '1', '', 'd', 'd', 'bench' FROM agents
"""
EXECUTIONS = """
    INSERT INTO workflow_executions
        (organization_id, agent_id, version_id, trigger, input, concurrency_limit, concurrency_key, relayed_at)
    SELECT v.organization_id, v.agent_id, v.id, '{}', '{}', CAST(:limit AS integer),
        CASE WHEN :keys > 1 THEN 'key ' || n % :keys ELSE '' END,
        CASE WHEN n <= :keys * :at_work THEN now() END
    FROM generate_series(1, :count) n, workflow_versions v
"""
ENTRIES = """
    INSERT INTO outbox (organization_id, execution_id, agent_id, concurrency_key, dag_id)
    SELECT organization_id, id, agent_id, concurrency_key, 'bench'
    FROM workflow_executions WHERE relayed_at IS NULL ORDER BY id
"""


@contextmanager
def server() -> Iterator[Any]:
    """A PostgreSQL server in a temporary folder, with the tables."""
    with running_postgres() as cluster:
        cluster.ensure_database(DATABASE)
        migrate(make_url(cluster.url(DATABASE, "postgresql+psycopg2")))
        yield cluster


async def fill(engine: AsyncEngine, backlog: Backlog) -> None:
    """Empty the tables and put a backlog in."""
    values = {
        "organizations": backlog.organizations,
        "limit": backlog.limit,
        "keys": backlog.keys,
        "at_work": backlog.at_work,
        "count": BACKLOG // backlog.organizations,
    }
    async with engine.begin() as connection:
        await connection.execute(text("TRUNCATE organizations CASCADE"))
        for statement in (ORGANIZATIONS, AGENTS, VERSIONS, EXECUTIONS):
            given = {name: value for name, value in values.items() if f":{name}" in statement}
            await connection.execute(text(statement), given)
    async with engine.begin() as connection:
        # Else the references to the executions are checked by a plan for an empty table, which reads all of them.
        await connection.execute(text("ANALYZE workflow_executions"))
        await connection.execute(text(ENTRIES))
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        await connection.execute(text("VACUUM ANALYZE"))


async def look(engine: AsyncEngine) -> float:
    """Take entries once, without keeping them; return the milliseconds."""
    async with AsyncSession(engine) as session:
        start = time.perf_counter()
        await take_entries(session, TAKEN, 60)
        return (time.perf_counter() - start) * 1000


async def measure(url: str) -> list[tuple[str, float]]:
    """Return name and median milliseconds of each backlog."""
    engine = create_async_engine(make_url(url))
    figures = []
    for backlog in BACKLOGS:
        await fill(engine, backlog)
        await look(engine)
        figures.append((backlog.name, statistics.median([await look(engine) for _ in range(ROUNDS)])))
    await engine.dispose()
    return figures


def main() -> None:
    """Measure and print."""
    with server() as cluster:
        for name, milliseconds in asyncio.run(measure(cluster.url(DATABASE, "postgresql+asyncpg"))):
            print(f"{name:<42}{milliseconds:>10.1f} ms", flush=True)


if __name__ == "__main__":
    main()
