"""How the runner lets a step wait: in this process, or by giving the process back until there is news."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

from operators.execution.clock import Clock
from operators.execution.patience import patiently
from operators.execution.store import MOST_AWAITED, ExecutionStore
from operators.steps.base import Wake

LOOK_AGAIN_SECONDS = 5.0
"""How long what waits for more than ``MOST_AWAITED`` things at most sleeps: it is told of so many only."""
Wait = Callable[[Wake], Awaitable[None]]
"""Waits for what a step needs; returns when it is worth another look."""


class ParkedError(Exception):
    """The step waits, and nobody holds a process for it: the unit ends here and is run again at ``wake``."""

    def __init__(self, wake: Wake) -> None:
        super().__init__("the step waits")
        self.wake = wake


class HaltedWhileWaitingError(Exception):
    """The execution failed or was cancelled elsewhere; what waits then waits no longer."""


async def park(wake: Wake) -> None:
    """Give the process back.

    :raises ParkedError: Always.
    """
    raise ParkedError(wake)


def hold(store: ExecutionStore, execution_id: str, clock: Clock) -> Wait:
    """Return a wait that stays in this process."""

    async def wait(wake: Wake) -> None:
        watch = asyncio.create_task(patiently(lambda: store.watch(execution_id, wake.awaited), clock))
        tasks: list[asyncio.Task[object]] = [watch]
        if wake.until is not None:
            left = max(0.0, (wake.until - clock.now()).total_seconds())
            # Whoever looks at a pod waits for it.
            tasks.append(asyncio.create_task(clock.sleep(0.0 if wake.pods else left)))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if watch.done() and watch.result().halted:
                raise HaltedWhileWaitingError
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    return wait


def together(wakes: Sequence[Wake], now: datetime) -> Wake:
    """Return what several waiting steps wait for: news of one wakes all."""
    if len(wakes) == 1:
        return wakes[0]
    awaited = sorted({each for wake in wakes for each in wake.awaited})
    pods = tuple(dict.fromkeys(pod for wake in wakes for pod in wake.pods))
    again = after(now, LOOK_AGAIN_SECONDS) if len(awaited) > MOST_AWAITED else None
    until = earliest(again, *(wake.until for wake in wakes))
    return Wake(until=until, awaited=tuple(awaited[:MOST_AWAITED]), pods=pods)


def earliest(*moments: datetime | None) -> datetime | None:
    """Return the first of some moments; None stands for never."""
    return min((moment for moment in moments if moment is not None), default=None)


def after(moment: datetime, seconds: float | None) -> datetime | None:
    """Return the moment some seconds later; None for no limit."""
    return None if seconds is None else moment + timedelta(seconds=seconds)
