"""Waiting for executions without asking the database again and again."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar
from uuid import UUID

from api import notifications
from api.gateway import deadline
from api.notifications import Listener
from api.problems import Problem

Seen = TypeVar("Seen")

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "": 1.0}
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h|d|)", re.ASCII)


def parse_wait(text: str, most_seconds: float) -> float:
    """Return the seconds of a duration like ``30s``, ``1.5m`` or ``10``; at most ``most_seconds``.

    :raises Problem: 422, for any other text.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise Problem(422, "invalid_request", f"`wait` must be a duration like '30s'; got {text[:40]!r}.")
    return min(float(match[1]) * _UNITS[match[2]], most_seconds)


async def wait_for(
    listener: Listener,
    ids: Iterable[UUID],
    look: Callable[[], Awaitable[Seen]],
    *,
    seconds: float,
    enough: Callable[[Seen], bool],
) -> Seen:
    """Return what ``look`` sees once ``enough`` says so, or as it stands after ``seconds``.

    :param ids: Whose notifications call for another look.
    :param look: Reads in a transaction of its own, so that no connection is held while waiting.
    """
    deadline.extend(seconds)
    ends = asyncio.get_running_loop().time() + seconds
    async with listener.subscribed(notifications.EXECUTIONS, *map(str, ids)) as news:
        while True:
            news.clear()
            seen = await look()
            left = ends - asyncio.get_running_loop().time()
            if enough(seen) or left <= 0:
                return seen
            try:
                async with asyncio.timeout(left):
                    await news.wait()
            except TimeoutError:
                return await look()
