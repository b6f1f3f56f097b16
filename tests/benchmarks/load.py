"""Load over HTTP for benchmarks: at a given rate, or as much as is taken. Loopback only."""

from __future__ import annotations

import asyncio
import itertools
import random
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

WAIT_SECONDS = 30.0


@dataclass(frozen=True)
class Call:
    """A request that was made ready beforehand."""

    url: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Figures:
    """What came of a load.

    :param taken: Milliseconds from when a request was planned to the end of its answer.
    :param late: Milliseconds from when it was planned to when it was sent: the load's own share.
    """

    taken: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    def __iadd__(self, other: Figures) -> Figures:
        self.taken += other.taken
        self.late += other.late
        self.statuses += other.statuses
        return self


def percentile(values: Sequence[float], which: int) -> float:
    """Return a percentile."""
    return statistics.quantiles(values, n=100, method="inclusive")[which - 1]


def arrivals(rate: float, count: int, seed: int) -> list[float]:
    """Return when requests are planned, in seconds from the begin: as if many senders knew nothing of each other."""
    chance = random.Random(seed)
    return list(itertools.accumulate(chance.expovariate(rate) for _ in range(count)))


async def at_rate(calls: Sequence[Call], planned: Sequence[float]) -> Figures:
    """Send each request when it is planned, whether or not those before it were answered."""
    figures = Figures()
    async with _session() as session, asyncio.TaskGroup() as group:
        begin = time.perf_counter()
        for call, at in zip(calls, planned, strict=True):
            await asyncio.sleep(max(begin + at - time.perf_counter(), 0.0))
            group.create_task(_send(session, call, begin + at, figures))
    return figures


async def as_much_as_is_taken(calls: Iterator[Call], senders: int, seconds: float) -> float:
    """Send one request after the other on so many connections; return how many were answered a second."""
    figures = Figures()
    begin = time.perf_counter()

    async def send() -> None:
        while time.perf_counter() < begin + seconds:
            await _send(session, next(calls), time.perf_counter(), figures)

    async with _session() as session, asyncio.TaskGroup() as group:
        for _ in range(senders):
            group.create_task(send())
    refused = {status: count for status, count in figures.statuses.items() if status != 202}
    assert not refused, refused
    return len(figures.taken) / (time.perf_counter() - begin)


async def _send(session: aiohttp.ClientSession, call: Call, planned: float, figures: Figures) -> None:
    figures.late.append((time.perf_counter() - planned) * 1000)
    async with session.post(call.url, data=call.body, headers=call.headers) as answer:
        await answer.read()
        figures.statuses[answer.status] += 1
    figures.taken.append((time.perf_counter() - planned) * 1000)


@asynccontextmanager
async def _session() -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=WAIT_SECONDS)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session:
        yield session
