"""Server-sent events: bounded in number, and nobody waits for a slow reader."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request
from fastapi.responses import StreamingResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.types import Message, Receive, Scope, Send

from api import notifications
from api.auth import StillAllowed
from api.executions.live.feed import Feed
from api.executions.live.watching import RENEW_SECONDS
from api.notifications import Listener
from api.problems import Problem

log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.05
"""Between two looks: a burst of steps is told together."""
AGAIN_SECONDS = 1.0
"""Until the next look where the database did not answer."""
SEND_SECONDS = 30.0
"""After so long without taking anything a reader is cut off; it may come back with its ``Last-Event-ID``."""
LIFETIME_SECONDS = 3600.0
"""So long a stream lasts at most, then the reader comes back."""


class Streams:
    """How many streams are open in this process.

    :param most: Of all organisations; one of them may have a quarter, so that it leaves room to the others.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._share = max(1, most // 4)
        self._open: Counter[UUID] = Counter()

    def take(self, organization_id: UUID) -> None:
        """Take a place.

        :raises Problem: 503, where none is left.
        """
        if self._open.total() >= self._most or self._open[organization_id] >= self._share:
            detail = "Too many streams of live events are open; close one, or try again."
            raise Problem(503, "too_many_streams", detail, headers={"retry-after": "5"})
        self._open[organization_id] += 1

    def give_back(self, organization_id: UUID) -> None:
        """Give a place back."""
        self._open[organization_id] -= 1
        if not self._open[organization_id]:
            del self._open[organization_id]

    @property
    def count(self) -> int:
        """How many are open."""
        return self._open.total()


class _SlowReaderError(Exception):
    """A reader takes nothing any more."""


class EventStream(StreamingResponse):
    """A stream that holds a place for as long as it lasts; the place is taken before."""

    media_type = "text/event-stream"

    def __init__(self, content: AsyncIterator[bytes], streams: Streams, organization_id: UUID) -> None:
        super().__init__(content, headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        self._streams = streams
        self._organization_id = organization_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._streams.give_back(self._organization_id)

    async def stream_response(self, send: Send) -> None:
        """Send each part; a reader that takes none in time is left."""

        async def send_in_time(message: Message) -> None:
            try:
                async with asyncio.timeout(SEND_SECONDS):
                    await send(message)
            except TimeoutError:
                raise _SlowReaderError from None

        try:
            await super().stream_response(send_in_time)
        except _SlowReaderError:
            log.info("a reader of live events was too slow and was cut off")


async def tell(
    feed: Feed, listener: Listener, execution_id: UUID, heartbeat_seconds: float, is_allowed: StillAllowed
) -> AsyncIterator[bytes]:
    """Yield an execution's events until its end, and a comment now and then, so that a lost connection is noticed. As
    often, however much there is to tell, the reader is looked at again: who may not read any more is told no more.

    No connection of the database is held meanwhile, and no event waits in memory: what a reader did not take yet is
    read from the journal when it is ready again.
    """
    clock = asyncio.get_running_loop().time
    begun = looked_at = clock()
    renewed = float("-inf")
    keys = [(notifications.STEPS, str(execution_id)), (notifications.EXECUTIONS, str(execution_id))]
    yield b"retry: 2000\n\n"
    async with listener.subscribed_to(keys) as news:
        while clock() - begun < LIFETIME_SECONDS:
            news.clear()
            try:
                if clock() - looked_at >= heartbeat_seconds:
                    if not await is_allowed():
                        return
                    looked_at = clock()
                if clock() - renewed > RENEW_SECONDS:
                    await feed.watch()
                    renewed = clock()
                events, is_over = await feed.read()
            except (SQLAlchemyError, OSError) as error:
                log.warning("live events: the database did not answer (%s); looking again", type(error).__name__)
                yield b": waiting for the database\n\n"
                await asyncio.sleep(AGAIN_SECONDS)
                news.set()
                continue
            if events:
                yield b"".join(events)
            if is_over:
                return
            await asyncio.sleep(PAUSE_SECONDS)
            if not await _is_set(news, heartbeat_seconds):
                yield b": heartbeat\n\n"


async def _is_set(news: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await news.wait()
    except TimeoutError:
        return False


async def get_streams(request: Request) -> Streams:
    """Return the application's open streams."""
    streams = request.app.state.streams
    assert isinstance(streams, Streams)
    return streams


StreamsDep = Annotated[Streams, Depends(get_streams)]
