"""RabbitMQ, as far as publishing needs it: one connection, one channel with confirms, one exchange."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika
from aio_pika.abc import AbstractConnection, AbstractExchange
from aio_pika.exceptions import (
    CONNECTION_EXCEPTIONS,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    DeliveryError,
    PublishError,
)
from pydantic import SecretStr

CONNECT_SECONDS = 15.0
CONFIRM_SECONDS = 15.0
"""The broker may take to confirm: it writes to disk first."""
CLOSE_SECONDS = 5.0


class BrokerAway(Exception):
    """The broker cannot be reached, or does not do what it should. Trying later may help; no message is to blame."""


class MessageRefused(Exception):
    """The broker is there, and did not take a message."""


class Broker:
    """An open connection.

    :param exchange: What is published to.
    """

    def __init__(self, exchange: AbstractExchange) -> None:
        self._exchange = exchange

    async def publish(self, message: aio_pika.Message, routing_key: str) -> None:
        """Publish a message; return once the broker has stored it in every queue that it is for.

        :raises MessageRefused: No queue is for it, or the broker did not take it.
        :raises BrokerAway: Whether it arrived is not known.
        """
        try:
            # Unless it is mandatory the broker confirms what it threw away because no queue wanted it.
            await self._exchange.publish(message, routing_key, mandatory=True, timeout=CONFIRM_SECONDS)
        except PublishError:
            raise MessageRefused(f"unroutable: no queue is bound to the exchange for {routing_key!r}") from None
        except DeliveryError:
            raise MessageRefused("refused: the broker did not take the message") from None
        except ChannelPreconditionFailed:
            raise MessageRefused("refused: the broker does not take such a message") from None
        except (*CONNECTION_EXCEPTIONS, TimeoutError, asyncio.CancelledError) as error:
            # The library cancels what waits when a connection goes; when we are cancelled that is not caught here.
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            raise BrokerAway(type(error).__name__) from None


@asynccontextmanager
async def connected(url: SecretStr, exchange: str) -> AsyncIterator[Broker]:
    """Give the broker; make its exchange where it is missing.

    :raises BrokerAway: It cannot be reached, or does not let us in. What was said is left out: it may hold the address.
    """
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            connection = await aio_pika.connect(
                url.get_secret_value(), client_properties={"connection_name": "agent-factory deliveries"}
            )
    except (*CONNECTION_EXCEPTIONS, TimeoutError) as error:
        raise BrokerAway(type(error).__name__) from None
    try:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                broker = Broker(await _find_exchange(connection, exchange))
        except (*CONNECTION_EXCEPTIONS, TimeoutError) as error:
            raise BrokerAway(type(error).__name__) from None
        yield broker
    finally:
        with contextlib.suppress(*CONNECTION_EXCEPTIONS, TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await connection.close()


async def _find_exchange(connection: AbstractConnection, name: str) -> AbstractExchange:
    """Return the exchange as the operator made it, who may have given it what we know nothing of; else make it."""
    channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
    try:
        return await channel.declare_exchange(name, aio_pika.ExchangeType.TOPIC, durable=True, passive=True)
    except ChannelNotFoundEntity:
        # The broker closes the channel of a question that it cannot answer.
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        return await channel.declare_exchange(name, aio_pika.ExchangeType.TOPIC, durable=True)
