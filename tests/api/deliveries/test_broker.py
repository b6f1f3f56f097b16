"""Our events reach a real RabbitMQ, whatever becomes of it meanwhile."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractIncomingMessage, AbstractQueue
from pydantic import SecretStr
from sqlalchemy import text

from api.deliveries import publisher as publishing
from api.deliveries.attempts import DELAYS
from api.deliveries.broker import Broker, BrokerAway, connected
from api.deliveries.publisher import Publisher
from api.settings import Settings
from api.subscriptions.events import tell
from tests.api.control_plane import ControlPlane
from tests.api.deliveries.rabbitmq import PASSWORD, RabbitMQ, running_rabbitmq, why_no_rabbitmq
from tests.api.deliveries.receiving import dispatching, make_due
from tests.support import free_ports

pytestmark = [
    pytest.mark.platform,
    pytest.mark.skipif(why_no_rabbitmq() is not None, reason=str(why_no_rabbitmq())),
]

EXCHANGE = "agent-factory.events"
QUEUE = "heard"


@pytest.fixture(scope="module")
def rabbitmq() -> Iterator[RabbitMQ]:
    with running_rabbitmq() as broker:
        yield broker


@pytest.fixture
def settings(settings: Settings, rabbitmq: RabbitMQ) -> Settings:
    return settings.model_copy(update={"amqp_url": SecretStr(rabbitmq.url), "relay_poll_seconds": 3600.0})


@pytest.fixture
async def queue(rabbitmq: RabbitMQ) -> AsyncIterator[AbstractQueue]:
    """A durable queue that hears everything."""
    async with await aio_pika.connect(rabbitmq.url) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True)
        queue = await channel.declare_queue(QUEUE, durable=True)
        await queue.bind(exchange, "#")
        yield queue
    # Of its own, for a test may have killed the broker meanwhile.
    async with await aio_pika.connect(rabbitmq.url) as connection:
        await (await connection.channel()).queue_delete(QUEUE)


def publisher_of(plane: ControlPlane) -> Publisher:
    state = plane.app.state
    return Publisher(state.settings, plane.database, state.listener, state.settings.amqp_url)


@asynccontextmanager
async def running(publisher: Publisher) -> AsyncIterator[None]:
    task = asyncio.create_task(publisher.run())
    try:
        yield
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def broker_of(plane: ControlPlane) -> AsyncIterator[Broker]:
    settings = plane.app.state.settings
    async with connected(settings.amqp_url, settings.amqp_exchange) as broker:
        yield broker


async def happen(plane: ControlPlane, count: int, first: int = 0) -> None:
    """Let so many agents be made, as far as others hear of it."""
    for number in range(first, first + count):
        async with plane.database.transaction(plane.organization_id) as session:
            await tell(session, plane.organization_id, "agent.created", f"/api/v1/agents/{number}", {"number": number})


async def statuses(plane: ControlPlane) -> dict[str, int]:
    async with plane.database.system() as session:
        rows = await session.execute(text("SELECT status, count(*) FROM webhook_deliveries GROUP BY 1"))
        return {row[0]: row[1] for row in rows}


async def until(is_so: Callable[[], Any], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not await is_so():
            await asyncio.sleep(0.02)


async def drain(queue: AbstractQueue) -> list[AbstractIncomingMessage]:
    """Take everything that the queue holds."""
    found = []
    while (message := await queue.get(no_ack=True, fail=False)) is not None:
        found.append(message)
    return found


def number_of(message: AbstractIncomingMessage) -> int:
    number: int = json.loads(message.body)["data"]["number"]
    return number


class TestMessage:
    async def test_is_a_cloud_event(self, control_plane: ControlPlane, queue: AbstractQueue) -> None:
        await control_plane.api.post("/api/v1/agents", json={"name": "Mine", "workflow_id": "mine"})
        async with broker_of(control_plane) as broker:
            assert await publisher_of(control_plane).round(broker) == 1
            assert await publisher_of(control_plane).round(broker) == 0
        (message,) = await drain(queue)
        event = json.loads(message.body)
        assert (event["specversion"], event["type"], event["data"]["workflow_id"]) == ("1.0", "agent.created", "mine")
        assert message.content_type == "application/cloudevents+json; charset=utf-8"
        assert (message.routing_key, message.type) == ("default.agent.created", "agent.created")
        assert message.message_id == event["id"]
        assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
        assert message.timestamp == datetime.fromisoformat(event["time"]).replace(microsecond=0)

    async def test_all_types_in_order(self, control_plane: ControlPlane, queue: AbstractQueue) -> None:
        await control_plane.api.post("/api/v1/agents", json={"name": "Mine", "workflow_id": "mine"})
        published = await control_plane.publish()
        execution_id = await control_plane.execute()
        await control_plane.lease(execution_id, published["digest"])
        await control_plane.api.post(f"/api/v1/executions/{await control_plane.execute()}/cancel")
        async with running(publisher_of(control_plane)):
            await until(lambda: _has(control_plane, {"delivered": 4}))
        keys = [message.routing_key for message in await drain(queue)]
        assert keys == [
            "default.agent.created", "default.agent.published", "default.execution.started",
            "default.execution.finished",
        ]  # fmt: skip

    async def test_goes_to_addresses_and_to_the_broker_with_one_id(
        self, control_plane: ControlPlane, queue: AbstractQueue
    ) -> None:
        body = {"url": "https://example.com/hook", "event_types": ["agent.created"]}
        state = control_plane.app.state
        state.settings = state.settings.model_copy(update={"secret_key": SecretStr("k" * 32)})
        assert (await control_plane.api.post("/api/v1/subscriptions", json=body)).status_code == 201
        await happen(control_plane, 1)
        async with broker_of(control_plane) as broker:
            assert await publisher_of(control_plane).round(broker) == 1
        rows = (await control_plane.api.get("/api/v1/deliveries")).json()["deliveries"]
        assert {(row["kind"], row["url"], row["status"]) for row in rows} == {
            ("broker", "amqp:", "delivered"),
            ("event", "https://example.com/hook", "pending"),
        }
        async with control_plane.database.system() as session:
            (sent,) = await session.execute(text("SELECT DISTINCT body FROM webhook_deliveries"))
        (message,) = await drain(queue)
        assert message.body.decode() == sent[0]

    async def test_addresses_leave_it_alone(self, control_plane: ControlPlane) -> None:
        await happen(control_plane, 1)
        async with dispatching(control_plane) as dispatcher:
            assert await dispatcher.round() == 0
        assert await statuses(control_plane) == {"pending": 1}


async def _has(plane: ControlPlane, wanted: dict[str, int]) -> bool:
    return await statuses(plane) == wanted


class TestChosenTypes:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"amqp_event_types": ("execution.finished",)})

    async def test_others_are_not_written(self, control_plane: ControlPlane) -> None:
        await control_plane.publish()
        await control_plane.api.post(f"/api/v1/executions/{await control_plane.execute()}/cancel")
        rows = (await control_plane.api.get("/api/v1/deliveries")).json()["deliveries"]
        assert [row["event_type"] for row in rows] == ["execution.finished"]


class TestWithoutABroker:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"amqp_url": None})

    async def test_nothing_is_written(self, control_plane: ControlPlane) -> None:
        await control_plane.publish()
        assert await statuses(control_plane) == {}


class TestRefused:
    async def test_without_a_queue_is_tried_again_then_given_up_and_published_on_demand(
        self, control_plane: ControlPlane, queue: AbstractQueue
    ) -> None:
        await queue.unbind(EXCHANGE, "#")
        await happen(control_plane, 1)
        publisher = publisher_of(control_plane)
        async with broker_of(control_plane) as broker:
            for _ in range(len(DELAYS) + 1):
                assert await publisher.round(broker) == 1
                assert await publisher.round(broker) == 0, "not before its time"
                await make_due(control_plane)
            (row,) = (await control_plane.api.get("/api/v1/deliveries?status=dead")).json()["deliveries"]
            assert (row["attempts"], row["kind"]) == (len(DELAYS) + 1, "broker")
            assert "unroutable" in row["error"]
            await queue.bind(EXCHANGE, "*.agent.created")
            answer = await control_plane.api.post(f"/api/v1/deliveries/{row['id']}/redeliver")
            assert (answer.status_code, answer.json()["status"]) == (202, "pending")
            assert await publisher.round(broker) == 1
        assert [number_of(message) for message in await drain(queue)] == [0]
        assert await statuses(control_plane) == {"delivered": 1}

    async def test_by_a_full_queue(self, control_plane: ControlPlane, rabbitmq: RabbitMQ) -> None:
        async with await aio_pika.connect(rabbitmq.url) as connection:
            channel = await connection.channel()
            full = await channel.declare_queue(
                "full", exclusive=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"}
            )
            await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True)
            await full.bind(EXCHANGE, "#")
            await happen(control_plane, 2)
            async with broker_of(control_plane) as broker:
                assert await publisher_of(control_plane).round(broker) == 2
        rows = (await control_plane.api.get("/api/v1/deliveries")).json()["deliveries"]
        assert sorted((row["status"], row["attempts"]) for row in rows) == [("delivered", 1), ("pending", 1)]
        assert [row["error"] for row in rows if row["status"] == "pending"] == [
            "refused: the broker did not take the message"
        ]


class TestExchange:
    async def test_is_made_and_survives_a_restart(self, control_plane: ControlPlane, rabbitmq: RabbitMQ) -> None:
        async with await aio_pika.connect(rabbitmq.url) as connection:
            channel = await connection.channel()
            await channel.exchange_delete(EXCHANGE)
            async with broker_of(control_plane):
                pass
            # Refused unless it is just so.
            await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True, auto_delete=False)

    async def test_of_the_operator_is_taken_as_it_is(self, control_plane: ControlPlane, rabbitmq: RabbitMQ) -> None:
        async with await aio_pika.connect(rabbitmq.url) as connection:
            channel = await connection.channel()
            await channel.exchange_delete(EXCHANGE)
            others = {"alternate-exchange": "unrouted"}
            await channel.declare_exchange("unrouted", aio_pika.ExchangeType.FANOUT)
            unrouted = await channel.declare_queue("unrouted", exclusive=True)
            await unrouted.bind("unrouted")
            await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True, arguments=others)
            try:
                await happen(control_plane, 1)
                async with broker_of(control_plane) as broker:
                    assert await publisher_of(control_plane).round(broker) == 1
                assert len(await drain(unrouted)) == 1
            finally:
                await channel.exchange_delete(EXCHANGE)


class TestAway:
    @pytest.fixture(autouse=True)
    def _short_pauses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(publishing, "FIRST_PAUSE", 0.05)
        monkeypatch.setattr(publishing, "LONGEST_PAUSE", 0.2)

    async def test_killed_in_the_middle_nothing_is_lost(
        self, control_plane: ControlPlane, queue: AbstractQueue, rabbitmq: RabbitMQ
    ) -> None:
        count = 400
        await happen(control_plane, count // 2)
        async with running(publisher_of(control_plane)):
            await until(lambda: _at_least(control_plane, publishing.BATCH))
            rabbitmq.kill()
            before = await statuses(control_plane)
            assert before["pending"] > 0, "it was not in the middle"
            await happen(control_plane, count // 2, first=count // 2)
            rabbitmq.start()
            await until(lambda: _has(control_plane, {"delivered": count}))
        async with await aio_pika.connect(rabbitmq.url) as connection:
            channel = await connection.channel()
            messages = await drain(await channel.get_queue(QUEUE))
        assert {number_of(message) for message in messages} == set(range(count))
        # What came twice has the same id.
        ids = {message.message_id for message in messages}
        assert len(ids) == count
        async with control_plane.database.system() as session:
            assert await session.scalar(text("SELECT max(attempts) FROM webhook_deliveries")) == 1

    async def test_frozen_uses_up_no_attempt(
        self, control_plane: ControlPlane, queue: AbstractQueue, monkeypatch: pytest.MonkeyPatch, rabbitmq: RabbitMQ
    ) -> None:
        monkeypatch.setattr("api.deliveries.broker.CONFIRM_SECONDS", 1.0)
        monkeypatch.setattr("api.deliveries.broker.CLOSE_SECONDS", 1.0)
        await happen(control_plane, 3)
        async with broker_of(control_plane) as broker:
            rabbitmq.freeze()
            try:
                with pytest.raises(BrokerAway):
                    await publisher_of(control_plane).round(broker)
            finally:
                rabbitmq.thaw()
        rows = (await control_plane.api.get("/api/v1/deliveries")).json()["deliveries"]
        assert {(row["status"], row["attempts"], row["error"]) for row in rows} == {("pending", 0, None)}
        async with broker_of(control_plane) as broker:
            assert await publisher_of(control_plane).round(broker) == 3

    async def test_nothing_is_taken_and_nothing_said_of_the_address(
        self, control_plane: ControlPlane, caplog: pytest.LogCaptureFixture
    ) -> None:
        state = control_plane.app.state
        [port] = free_ports(1)
        addresses = (f"amqp://factory:{PASSWORD}@127.0.0.1:{port}/", f"amqp://factory:{PASSWORD}@none.invalid/")
        await happen(control_plane, 2)
        with caplog.at_level(logging.DEBUG):
            for address in addresses:
                publisher = Publisher(state.settings, control_plane.database, state.listener, SecretStr(address))
                async with running(publisher):
                    await until(lambda: _said(caplog, "it is away"))
                caplog.clear()
        rows = (await control_plane.api.get("/api/v1/deliveries")).json()["deliveries"]
        assert {(row["status"], row["attempts"]) for row in rows} == {("pending", 0)}

    async def test_a_wrong_password_is_in_no_log(
        self, control_plane: ControlPlane, rabbitmq: RabbitMQ, caplog: pytest.LogCaptureFixture
    ) -> None:
        state = control_plane.app.state
        wrong = SecretStr(rabbitmq.url.replace(PASSWORD, "wrong-" + PASSWORD))
        with caplog.at_level(logging.DEBUG):
            async with running(Publisher(state.settings, control_plane.database, state.listener, wrong)):
                await until(lambda: _said(caplog, "it is away"))
            async with broker_of(control_plane):
                pass
        assert PASSWORD not in caplog.text
        assert "wrong" not in " ".join(record.getMessage() for record in caplog.records if "broker:" in record.msg)

    async def test_several_publishers_share_the_work(self, control_plane: ControlPlane, queue: AbstractQueue) -> None:
        await happen(control_plane, 120)
        async with running(publisher_of(control_plane)), running(publisher_of(control_plane)):
            await until(lambda: _has(control_plane, {"delivered": 120}))
        assert sorted(number_of(message) for message in await drain(queue)) == list(range(120))

    async def test_wakes_by_itself(self, control_plane: ControlPlane, queue: AbstractQueue) -> None:
        async with running(publisher_of(control_plane)):
            for number in range(3):
                await happen(control_plane, 1, first=number)
                done = number + 1
                await until(lambda done=done: _has(control_plane, {"delivered": done}), 20)


async def _at_least(plane: ControlPlane, count: int) -> bool:
    return (await statuses(plane)).get("delivered", 0) >= count


async def _said(caplog: pytest.LogCaptureFixture, words: str) -> bool:
    assert PASSWORD not in caplog.text
    return words in caplog.text
