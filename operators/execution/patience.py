"""Patience with a store that is away for a while: calls to it are idempotent, so they are simply made again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_exponential

from operators.execution.clock import Clock
from operators.execution.store import StoreError

Answer = TypeVar("Answer")

ATTEMPTS = 18
"""With waits of 0.2 s doubling to 5 s: about 65 seconds, longer than a restart of the control plane."""


def is_transient(error: BaseException) -> bool:
    """Tell whether trying again may help: of the store's errors only the plain one."""
    return type(error) is StoreError


async def patiently(call: Callable[[], Awaitable[Answer]], clock: Clock) -> Answer:
    """Make a call to the store until it answers.

    :raises StoreError: It did not answer for about a minute, or refused for good.
    """
    attempts = AsyncRetrying(
        retry=retry_if_exception(is_transient),
        wait=wait_exponential(multiplier=0.2, max=5),
        stop=stop_after_attempt(ATTEMPTS),
        sleep=clock.sleep,
        reraise=True,
    )

    async def once() -> Answer:
        return await call()

    return await attempts(once)
