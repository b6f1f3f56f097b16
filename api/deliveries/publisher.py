"""Publishes our own events to the broker. Any number of publishers may run at once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from uuid import UUID

import aio_pika
import orjson
from pydantic import SecretStr
from sqlalchemy.exc import SQLAlchemyError

from api import notifications
from api.database import Database
from api.deliveries.attempts import HOLD_SECONDS, Outcome, record
from api.deliveries.broker import Broker, BrokerAway, MessageRefused, connected
from api.deliveries.repository import DeliveryRepository, Taken, take_for_broker
from api.metrics.registry import BROKER_CONNECTED
from api.notifications import Listener
from api.settings import Settings

log = logging.getLogger(__name__)

BATCH = 50
"""Messages on their way at a time."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds until the broker is tried again; twice as long each time."""
CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
"""CloudEvents in structured mode: the same bytes that go to addresses."""


class Publisher:
    """One publisher.

    :param listener: Wakes it when there is something to publish; a slow poll finds what was missed and what is due.
    """

    def __init__(self, settings: Settings, database: Database, listener: Listener, url: SecretStr) -> None:
        self._settings = settings
        self._database = database
        self._listener = listener
        self._url = url
        self._is_away = False

    async def run(self) -> None:
        """Publish until cancelled. While the broker is away nothing is taken, so no attempt is used up."""
        pause = FIRST_PAUSE
        async with self._listener.subscribed(notifications.DELIVERIES) as news:
            while True:
                try:
                    async with connected(self._url, self._settings.amqp_exchange) as broker:
                        self._note_back()
                        async for _ in self._rounds(broker, news):
                            pause = FIRST_PAUSE
                except BrokerAway as error:
                    self._note_away(str(error))
                except Exception:
                    # Whatever it is: what was taken comes back, and the process has more to do than this.
                    log.exception("broker: publishing failed; it begins anew")
                BROKER_CONNECTED.set(0)
                await asyncio.sleep(pause * random.uniform(0.9, 1.1))  # noqa: S311  # no secret
                pause = min(2 * pause, LONGEST_PAUSE)

    async def _rounds(self, broker: Broker, news: asyncio.Event) -> AsyncIterator[int]:
        """Publish what is due as it comes; yield after each round that did something."""
        while True:
            news.clear()
            try:
                published = await self.round(broker)
            except (SQLAlchemyError, OSError) as error:
                log.warning("broker: the database does not answer (%s)", type(error).__name__)
                published = 0
            if published:
                yield published
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.relay_poll_seconds):
                    await news.wait()

    async def round(self, broker: Broker) -> int:
        """Publish what is due, as far as there is room; return how many messages that was.

        :raises BrokerAway: It went meanwhile. What it did not confirm is due again.
        """
        async with self._database.system() as session:
            taken = await take_for_broker(session, BATCH, hold_seconds=HOLD_SECONDS)
        results = await asyncio.gather(*(_publish(broker, each) for each in taken), return_exceptions=True)
        arrived, lost = [], []
        gone: BaseException | None = None
        for each, result in zip(taken, results, strict=True):
            if result is None:
                arrived.append(each)
            elif isinstance(result, MessageRefused):
                await record(self._database, each, Outcome(error=str(result)))
            else:
                lost.append(each)
                gone = result
        await self._settle(arrived, lost)
        if gone is not None:
            raise gone
        return len(taken)

    async def _settle(self, arrived: Sequence[Taken], lost: Sequence[Taken]) -> None:
        for organization_id, each in _by_organization(arrived).items():
            async with self._database.transaction(organization_id) as session:
                await DeliveryRepository(session, organization_id).settle_all(each)
        for organization_id, each in _by_organization(lost).items():
            async with self._database.transaction(organization_id) as session:
                await DeliveryRepository(session, organization_id).give_back(each)

    def _note_away(self, reason: str) -> None:
        if not self._is_away:
            log.warning("broker: it is away (%s); events wait for it", reason)
        self._is_away = True

    def _note_back(self) -> None:
        BROKER_CONNECTED.set(1)
        if self._is_away:
            log.warning("broker: it is back")
        self._is_away = False


def _by_organization(taken: Sequence[Taken]) -> dict[UUID, list[Taken]]:
    groups: dict[UUID, list[Taken]] = defaultdict(list)
    for each in taken:
        groups[each.organization_id].append(each)
    return groups


async def _publish(broker: Broker, taken: Taken) -> None:
    event = orjson.loads(taken.body)
    message = aio_pika.Message(
        taken.body.encode(),
        content_type=CONTENT_TYPE,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        # The event's own, so the same however often it comes.
        message_id=event["id"],
        type=event["type"],
        timestamp=datetime.fromisoformat(event["time"]),
        app_id="agent-factory",
    )
    await broker.publish(message, f"{taken.organization}.{taken.event_type}")
