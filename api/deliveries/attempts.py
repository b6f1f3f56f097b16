"""What comes of an attempt to deliver a message, and when the next one is."""

from __future__ import annotations

import random
from dataclasses import dataclass

from api.database import Database
from api.deliveries.repository import DeliveryRepository, Taken

HOLD_SECONDS = 60.0
"""After so long a delivery is another process's to take: this one may have died. The message may then come twice,
with the same id."""
DELAYS = (5.0, 60.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0)
"""Seconds after each failure; after one more the delivery is dead, about 32 hours after the first."""


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt. ``error`` is None where it arrived; ``final`` where another would not help."""

    status: int | None = None
    error: str | None = None
    final: bool = False


async def record(database: Database, taken: Taken, outcome: Outcome) -> None:
    """Note what came of an attempt: it arrived, it is tried again, or it is given up."""
    async with database.transaction(taken.organization_id) as session:
        deliveries = DeliveryRepository(session, taken.organization_id)
        is_last = outcome.final or taken.attempts > len(DELAYS)
        if outcome.error is None or is_last:
            dead = outcome.error is not None
            await deliveries.settle(taken, response_status=outcome.status, error=outcome.error, dead=dead)
            return
        # A little at random, so that what failed together does not come back together.
        delay = DELAYS[taken.attempts - 1] * random.uniform(0.9, 1.1)  # noqa: S311  # no secret
        await deliveries.postpone(taken, delay, response_status=outcome.status, error=outcome.error)
