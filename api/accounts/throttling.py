"""How often something may be tried, counted in the database for all processes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from api.accounts.repository import AttemptRepository
from api.database import Database
from api.problems import Problem

WINDOW_SECONDS = 900


@dataclass(frozen=True)
class Limit:
    """At most ``count`` tries of a subject within ``WINDOW_SECONDS``."""

    kind: str
    count: int


LOGINS_OF_ACCOUNT = Limit("login of account", 10)
LOGINS_OF_ADDRESS = Limit("login of address", 100)
LINKS_OF_ACCOUNT = Limit("link to account", 3)
LINKS_OF_ADDRESS = Limit("link to address", 30)
TOKENS_OF_ADDRESS = Limit("token of address", 100)


class Throttle:
    """Counts tries. A try is counted before it is made, in a transaction of its own, so that tries side by side do not
    slip through; after a success it is taken back."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def enter(self, *tries: tuple[Limit, str]) -> None:
        """Count a try of each subject.

        :raises Problem: 429, where one of them was tried too often.
        """
        async with self._database.system() as session:
            attempts = AttemptRepository(session)
            waits = []
            # Always in the same order: two tries of the same subjects would otherwise wait for each other.
            for limit, subject in sorted(tries, key=lambda each: _name(*each)):
                count, left = await attempts.count(_name(limit, subject), WINDOW_SECONDS)
                if count > limit.count:
                    waits.append(left)
        if waits:
            seconds = max(1, round(max(waits)))
            detail = f"There were too many attempts; try again in {seconds} seconds."
            raise Problem(429, "too_many_attempts", detail, headers={"retry-after": str(seconds)})

    async def succeed(self, forget: tuple[Limit, str], uncount: tuple[Limit, str]) -> None:
        """Forget the tries of one subject, and take one try of another back."""
        async with self._database.system() as session:
            attempts = AttemptRepository(session)
            await attempts.forget(_name(*forget))
            await attempts.uncount(_name(*uncount))


def _name(limit: Limit, subject: str) -> str:
    return hashlib.sha256(f"{limit.kind}\n{subject}".encode()).hexdigest()
