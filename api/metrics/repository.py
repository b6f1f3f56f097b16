"""SQL of the relay's gauges."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession


@dataclass(frozen=True)
class Backlog:
    """What the outbox holds, of every organisation."""

    waiting: int
    oldest_seconds: float
    dead_letters: int


# The outbox holds what is not done yet: it is small unless something is wrong, and then this is what tells.
_BACKLOG = text("""
    SELECT count(*) FILTER (WHERE NOT dead AND kind <> 'stop'),
           extract(epoch FROM clock_timestamp() - min(created_at) FILTER (WHERE NOT dead AND kind <> 'stop')),
           count(*) FILTER (WHERE dead)
    FROM outbox
""")


async def read_backlog(session: AsyncSession) -> Backlog:
    """Return how much waits for Airflow."""
    waiting, oldest, dead = (await session.execute(_BACKLOG)).one()
    return Backlog(int(waiting), max(float(oldest or 0), 0.0), int(dead))
