"""Time as the runner sees it, so that tests can give it another."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta


class Clock:
    """The real clock."""

    def now(self) -> datetime:
        """Return the time of day, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that only grow, for durations."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class SetClock(Clock):
    """A clock that was set once and goes on by itself: a machine whose time is wrong, or leaps, does not disturb it.

    :param clock: Gives the seconds, and sleeps.
    :param now: What time it is.
    """

    def __init__(self, clock: Clock, now: datetime) -> None:
        self._clock = clock
        self._set_to = now
        self._set_at = clock.monotonic()

    def now(self) -> datetime:
        """Return the time of day by the clock it was set to, UTC."""
        return self._set_to + timedelta(seconds=self.monotonic() - self._set_at)

    def monotonic(self) -> float:
        """Return seconds that only grow, for durations."""
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._clock.sleep(seconds)
