"""LISTEN/NOTIFY: one connection a process, and many coroutines that wait for news through it.

A notification carries no facts, only "look again": after a lost connection every waiter is woken once, so that nothing
that was missed meanwhile keeps anyone waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any

import asyncpg
from fastapi import Depends, Request
from sqlalchemy import func, select
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncSession

log = logging.getLogger(__name__)

EXECUTIONS = "agent_factory_executions"
"""Channel of executions that ended or answered, and of approvals that were decided; the payload is the id."""
STEPS = "agent_factory_steps"
"""Channel of what was journaled for executions that somebody watches; the payload is the execution's id."""
OUTBOX = "agent_factory_outbox"
"""Channel of new outbox entries; no payload."""

DELIVERIES = "agent_factory_deliveries"
"""Channel of messages that are to be delivered; no payload."""

RECONNECT_SECONDS = 0.5
HEALTH_SECONDS = 20.0


async def notify(session: AsyncSession, channel: str, payload: str = "") -> None:
    """Tell the listeners of a channel, once the transaction commits."""
    await session.execute(select(func.pg_notify(channel, payload)))


class Listener:
    """The listening side.

    :param url: The database, with the asyncpg driver.
    """

    def __init__(self, url: URL) -> None:
        self._arguments = url.get_dialect()().create_connect_args(url)[1]
        self._waiting: dict[tuple[str, str], set[asyncio.Event]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None
        self.connected = asyncio.Event()

    @asynccontextmanager
    async def subscribed(self, channel: str, *payloads: str) -> AsyncIterator[asyncio.Event]:
        """Give an event that is set by each notification with one of these payloads; without any, by an empty one.

        Look at the database once after subscribing: what happened before is not told.
        """
        async with self.subscribed_to([(channel, payload) for payload in payloads or ("",)]) as event:
            yield event

    @asynccontextmanager
    async def subscribed_to(self, keys: Sequence[tuple[str, str]]) -> AsyncIterator[asyncio.Event]:
        """Give an event that is set by notifications of several channels, each with its payload."""
        event = asyncio.Event()
        for key in keys:
            self._waiting[key].add(event)
        try:
            yield event
        finally:
            for key in keys:
                self._waiting[key].discard(event)
                if not self._waiting[key]:
                    del self._waiting[key]

    async def start(self) -> None:
        """Begin to listen in the background."""
        self._task = asyncio.create_task(self._run(), name="listener")

    async def stop(self) -> None:
        """Stop listening."""
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            try:
                await self._listen()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
                log.warning("listener lost its connection (%s); connecting again", type(error).__name__)
            self.connected.clear()
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _listen(self) -> None:
        """Hold a connection until it is lost."""
        connection = await asyncpg.connect(**self._arguments, timeout=10)
        try:
            lost = asyncio.Event()
            connection.add_termination_listener(lambda _: lost.set())
            for channel in (EXECUTIONS, STEPS, OUTBOX, DELIVERIES):
                await connection.add_listener(channel, self._callback())
            self._wake_all()
            self.connected.set()
            while not lost.is_set():
                # A connection can die without a word; a question finds out.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(lost.wait(), HEALTH_SECONDS)
                    return
                await connection.execute("SELECT 1", timeout=10)
        finally:
            connection.terminate()

    def _callback(self) -> Callable[[Any, int, str, object], None]:
        def heard(connection: Any, process: int, channel: str, payload: object) -> None:
            for event in self._waiting.get((channel, str(payload)), ()):
                event.set()

        return heard

    def _wake_all(self) -> None:
        for events in self._waiting.values():
            for event in events:
                event.set()


async def get_listener(request: Request) -> Listener:
    """Return the application's listener."""
    listener = request.app.state.listener
    assert isinstance(listener, Listener)
    return listener


ListenerDep = Annotated[Listener, Depends(get_listener)]
