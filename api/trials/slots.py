"""How many tests run at a time: in this process, by organisation."""

from __future__ import annotations

from collections import Counter
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request

from api.problems import Problem


class TrialSlots:
    """Places for tests.

    :param most: How many an organisation has.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: Counter[UUID] = Counter()

    def taken(self, organization_id: UUID) -> int:
        """Return how many tests of an organisation run."""
        return self._taken[organization_id]

    def take(self, organization_id: UUID) -> None:
        """Take a place.

        :raises Problem: 429.
        """
        if self._taken[organization_id] >= self._most:
            detail = f"At most {self._most} tests of an organisation may run at a time; wait for one to end."
            raise Problem(429, "too_many_tests", detail, headers={"retry-after": "5"})
        self._taken[organization_id] += 1

    def give_back(self, organization_id: UUID) -> None:
        """Give a place back."""
        self._taken[organization_id] -= 1
        if not self._taken[organization_id]:
            del self._taken[organization_id]


async def get_slots(request: Request) -> TrialSlots:
    """Return the application's places."""
    slots = request.app.state.trials
    assert isinstance(slots, TrialSlots)
    return slots


SlotsDep = Annotated[TrialSlots, Depends(get_slots)]
