"""What delivers messages in a process that relays."""

from __future__ import annotations

import asyncio

from api.database import Database
from api.deliveries.dispatcher import Dispatcher
from api.notifications import Listener
from api.settings import Settings
from operators.egress import EgressClient


async def deliver(settings: Settings, database: Database, listener: Listener, egress: EgressClient) -> None:
    """Deliver until cancelled: to addresses, and to the broker where there is one."""
    async with asyncio.TaskGroup() as group:
        group.create_task(Dispatcher(settings, database, listener, egress).run(), name="deliveries")
        if settings.amqp_url is not None:
            # Its library is of no use to anybody else.
            from api.deliveries.publisher import Publisher

            group.create_task(Publisher(settings, database, listener, settings.amqp_url).run(), name="broker")
