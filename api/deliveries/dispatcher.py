"""Delivers messages to addresses, several at a time. Any number of dispatchers may run at once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from functools import partial
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy.exc import SQLAlchemyError

from api import notifications
from api.database import Database
from api.deliveries.attempts import HOLD_SECONDS, Outcome, record
from api.deliveries.repository import Taken, take_deliveries
from api.deliveries.signing import CALLBACK_SECRET, callback_secret, signed_headers, subscription_cipher
from api.encryption import UnsealError
from api.notifications import Listener
from api.problems import Problem
from api.settings import Settings
from api.subscriptions.repository import SubscriptionRepository
from compiler.urls import UrlError, parse_url
from operators.egress import EgressClient, EgressError, EgressRequest

log = logging.getLogger(__name__)

IN_FLIGHT = 16
PER_ORGANIZATION = 4
"""At work for one organisation, so that its slow addresses do not take all the places."""
SECONDS = 15.0
"""An address may take to answer."""
CONTENT_TYPE = "application/cloudevents+json"


class Dispatcher:
    """One dispatcher.

    :param listener: Wakes it when there is something to deliver; a slow poll finds what was missed and what is due.
    :param egress: Refuses addresses that are not public.
    """

    def __init__(self, settings: Settings, database: Database, listener: Listener, egress: EgressClient) -> None:
        self._settings = settings
        self._database = database
        self._listener = listener
        self._egress = egress
        self._at_work: set[asyncio.Task[None]] = set()
        self._places: Counter[UUID] = Counter()
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Deliver until cancelled; then break off what is at work, which is tried again later."""
        async with self._listener.subscribed(notifications.DELIVERIES) as news:
            self._wake = news
            try:
                while True:
                    await self._begin()
            finally:
                for task in self._at_work:
                    task.cancel()
                await asyncio.gather(*self._at_work, return_exceptions=True)

    async def round(self) -> int:
        """Try once what is due, as far as there is room; return how many that was."""
        taken = await self._take(IN_FLIGHT)
        await asyncio.gather(*(self._deliver(each) for each in taken))
        return len(taken)

    async def _begin(self) -> None:
        """Take as many as there is room for; sleep where there are none, or no room."""
        self._wake.clear()
        room = IN_FLIGHT - len(self._at_work)
        taken: list[Taken] = []
        try:
            taken = await self._take(room) if room else []
        except (SQLAlchemyError, OSError) as error:
            log.warning("deliveries: the database does not answer (%s)", type(error).__name__)
        for each in taken:
            self._places[each.organization_id] += 1
            task = asyncio.create_task(self._deliver(each))
            self._at_work.add(task)
            task.add_done_callback(partial(self._done, each.organization_id))
        if not taken:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.relay_poll_seconds):
                    await self._wake.wait()

    def _done(self, organization_id: UUID, task: asyncio.Task[None]) -> None:
        self._at_work.discard(task)
        self._places[organization_id] -= 1
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("deliveries: one could not be settled; it comes back later", exc_info=error)

    async def _take(self, room: int) -> list[Taken]:
        busy = [owner for owner, places in self._places.items() if places >= PER_ORGANIZATION]
        async with self._database.system() as session:
            return await take_deliveries(session, room, each=PER_ORGANIZATION, hold_seconds=HOLD_SECONDS, busy=busy)

    async def _deliver(self, taken: Taken) -> None:
        await record(self._database, taken, await self._attempt(taken))

    async def _attempt(self, taken: Taken) -> Outcome:
        try:
            secret = await self._secret(taken)
        except (Problem, UnsealError) as error:
            return Outcome(error=f"secret_missing: {error}")
        if secret is None:
            return Outcome(error=f"secret_missing: set the secret variable {CALLBACK_SECRET!r} to a `whsec_` secret")
        try:
            headers = (("content-type", CONTENT_TYPE), *signed_headers(secret, taken.id, taken.body))
            url = parse_url(taken.url)
            # No redirect is followed: what was signed for one address is not for another.
            request = EgressRequest("POST", url, headers, taken.body.encode(), ((300, 399),), SECONDS)
            answer = await self._egress.send(request)
        except UrlError as error:
            return Outcome(error=f"invalid_url: {error}", final=True)
        except EgressError as error:
            return Outcome(error=f"{error.code}: {error}")
        if 200 <= answer.status <= 299:
            return Outcome(answer.status)
        return Outcome(answer.status, f"http_status: the address answered {answer.status}", final=answer.status == 410)

    async def _secret(self, taken: Taken) -> SecretStr | None:
        async with self._database.transaction(taken.organization_id) as session:
            if taken.subscription_id is None:
                return await callback_secret(session, taken.organization_id, self._settings)
            sealed = await SubscriptionRepository(session, taken.organization_id).sealed(taken.subscription_id)
        if sealed is None:
            return None
        context = (str(taken.organization_id), str(taken.subscription_id))
        return SecretStr(subscription_cipher(self._settings).open(sealed, *context).decode())
