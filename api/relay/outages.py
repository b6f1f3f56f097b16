"""What is out of order as a whole, as one relay sees it: Airflow itself, or its DAG of one workflow."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

FIRST_DELAY_SECONDS = 0.3
GROWTH = 1.3
STEPS = 40
"""More failures than this make no delay longer."""
ENTRIES_BEFORE_AN_OUTAGE = 3
"""So many entries in a row that Airflow fails at are no fault of theirs."""
LONGEST_RETRY_AFTER_SECONDS = 300.0
FORGOTTEN_SECONDS = 60.0
"""Where nobody has tried for so long after it was time to, nobody knows whether it lasted."""


def backoff(failures: int, longest: float) -> float:
    """Return the seconds to wait after so many failures in a row."""
    return float(min(FIRST_DELAY_SECONDS * GROWTH ** (min(failures, STEPS) - 1), longest))


class Outage:
    """Something that may be out of order. While it is, nobody tries until a delay is over; then one tries.

    :param longest: Longest delay, in seconds.
    :param clock: Gives seconds that only grow.
    """

    def __init__(self, longest: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._longest = longest
        self._clock = clock
        self._since: float | None = None
        self._until = 0.0
        self._failures = 0
        self._suspects: set[int] = set()

    @property
    def lasts(self) -> bool:
        """Whether the last try failed."""
        return self._since is not None

    @property
    def seconds(self) -> float:
        """How long it has lasted."""
        return 0.0 if self._since is None else self._clock() - self._since

    @property
    def seconds_left(self) -> float:
        """How long nobody should try; 0 where it is time to."""
        return max(0.0, self._until - self._clock())

    def begin_or_go_on(self, tried_seconds: float = 0.0, *, at_least: float = 0.0) -> None:
        """Note that a try failed.

        :param tried_seconds: For how long whoever tried has tried before.
        :param at_least: Least delay, in seconds.
        """
        if self._since is not None and self._clock() - self._until > FORGOTTEN_SECONDS:
            self.end()
        if self._since is None:
            self._since = self._clock() - tried_seconds
        if self.seconds_left == 0:
            # Tries that failed together count once.
            self._failures += 1
            # Several relays should not come back all at once.
            delay = backoff(self._failures, self._longest) * random.uniform(0.8, 1.2)  # noqa: S311  no secret
            self._until = self._clock() + delay
        self._until = max(self._until, self._clock() + min(at_least, LONGEST_RETRY_AFTER_SECONDS))

    def suspect(self, entry_id: int, tried_seconds: float) -> None:
        """Note a failure that may be the entry's own fault, unless other entries fail as well."""
        self._suspects.add(entry_id)
        if len(self._suspects) >= ENTRIES_BEFORE_AN_OUTAGE:
            self.begin_or_go_on(tried_seconds)

    def end(self) -> None:
        """Note that a try succeeded."""
        self._since, self._until, self._failures = None, 0.0, 0
        self._suspects.clear()
