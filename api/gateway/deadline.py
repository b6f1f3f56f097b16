"""How long an endpoint may take until its answer begins."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

_current: ContextVar[asyncio.Timeout | None] = ContextVar("deadline", default=None)


def begin(timeout: asyncio.Timeout) -> None:
    """Make a time-out the one of the request at hand."""
    _current.set(timeout)


def extend(seconds: float) -> None:
    """Allow the request at hand so many seconds more: it was asked to wait."""
    timeout = _current.get()
    if timeout is not None and not timeout.expired():
        when = timeout.when()
        if when is not None:
            timeout.reschedule(when + seconds)
