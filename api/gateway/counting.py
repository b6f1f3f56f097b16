"""Counts requests: in Redis where there is one, so that all processes count together, else in this process."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from dataclasses import dataclass
from typing import Any

from limits import RateLimitItem
from limits.aio.storage import RedisStorage, Storage
from pydantic import SecretStr
from redis.exceptions import RedisError

from api.metrics.registry import RATE_LIMIT_ERRORS

log = logging.getLogger(__name__)

MOST_KEYS = 50_000
"""Of a process; then the oldest are forgotten."""
REDIS_SECONDS = 0.25
"""How long Redis may take to answer."""
PAUSE_SECONDS = 5.0
"""After a failure Redis is left alone for so long: one that is away must not cost every request its time-out."""


@dataclass(frozen=True)
class Count:
    """How a caller stands.

    :param remaining: Requests left in the window.
    :param reset: Seconds to the next window.
    """

    allowed: bool
    remaining: int
    reset: int


class ProcessStorage(Storage):
    """Counts of one process, bounded. The library's own walks through all its keys with every request."""

    STORAGE_SCHEME = None

    def __init__(self, most_keys: int = MOST_KEYS) -> None:
        super().__init__()
        self._most = most_keys
        self._counts: dict[str, tuple[int, float]] = {}

    @property
    def base_exceptions(self) -> type[Exception]:
        """Nothing of it fails."""
        return ValueError

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count; return the count."""
        now = time.monotonic()
        count, ends = self._counts.get(key, (0, 0.0))
        if ends <= now:
            count, ends = 0, now + expiry
            if len(self._counts) >= self._most:
                self._make_room(now)
        self._counts[key] = (count + amount, ends)
        return count + amount

    def _make_room(self, now: float) -> None:
        """Forget what is over; where that is too little, a tenth, the oldest first."""
        self._counts = {key: entry for key, entry in self._counts.items() if entry[1] > now}
        while len(self._counts) > self._most * 9 // 10:
            del self._counts[next(iter(self._counts))]

    async def get(self, key: str) -> int:
        """Return the count."""
        count, ends = self._counts.get(key, (0, 0.0))
        return count if ends > time.monotonic() else 0

    async def get_expiry(self, key: str) -> float:
        """Return when the count ends."""
        return time.time() + max(self._counts.get(key, (0, 0.0))[1] - time.monotonic(), 0.0)

    async def check(self) -> bool:
        """Say that it is there."""
        return True

    async def reset(self) -> int:
        """Forget everything."""
        size = len(self._counts)
        self._counts.clear()
        return size

    async def clear(self, key: str) -> None:
        """Forget a count."""
        self._counts.pop(key, None)


class Counter:
    """Counts requests in windows that begin on the clock, so that one look tells count and reset.

    Where Redis is away each process counts for itself: a caller may have more than its rate then, never less. A limit
    protects the service; that it cannot be kept exactly is no reason to end the service.
    """

    def __init__(self, redis_url: SecretStr | None) -> None:
        self._local = ProcessStorage()
        self._redis = _redis(redis_url.get_secret_value()) if redis_url else None
        self._resume_at = 0.0

    async def hit(self, item: RateLimitItem, *names: str) -> Count:
        """Count a request against a rate."""
        now, seconds = time.time(), item.get_expiry()
        window = int(now // seconds)
        key = item.key_for(*names, str(window))
        count = await self._incr(key, seconds)
        reset = max(math.ceil((window + 1) * seconds - now), 1)
        return Count(count <= item.amount, max(item.amount - count, 0), reset)

    async def _incr(self, key: str, seconds: int) -> int:
        if self._redis is not None and time.monotonic() >= self._resume_at:
            try:
                async with asyncio.timeout(2 * REDIS_SECONDS):
                    count = await self._redis.incr(key, seconds)
            except (RedisError, OSError, TimeoutError) as error:
                RATE_LIMIT_ERRORS.inc()
                if not self._resume_at:
                    log.warning("rate limits: Redis is away (%s); each process counts alone", type(error).__name__)
                self._resume_at = time.monotonic() + PAUSE_SECONDS
            else:
                if self._resume_at:
                    log.warning("rate limits: Redis is back")
                    self._resume_at = 0.0
                return count
        return await self._local.incr(key, seconds)

    async def close(self) -> None:
        """Close the connections."""
        if self._redis is not None:
            bridge: Any = self._redis.bridge
            await bridge.get_connection().aclose()


def _redis(url: str) -> RedisStorage:
    return RedisStorage(
        f"async+{url}" if url.startswith("redis") else f"async+redis+{url}",
        implementation="redispy",
        key_prefix="agent-factory:rates",
        socket_timeout=REDIS_SECONDS,
        socket_connect_timeout=REDIS_SECONDS,
    )
