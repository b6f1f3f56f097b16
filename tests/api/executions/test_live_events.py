"""GET /api/v1/executions/{id}/events over a real HTTP server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
import pytest
from sqlalchemy import text

from api.executions.live.feed import Position
from api.executions.live.stream import Streams
from api.organizations.repository import OrganizationRepository
from api.problems import Problem
from operators.execution.records import StepError, StepRecord
from tests.api.control_plane import UNIT, ControlPlane

pytestmark = pytest.mark.platform

DONE = StepRecord(id="hello", status="success", output={"text": "secret output"}, attempts=1)
LAST = StepRecord(id="bye", status="success", output={}, attempts=1)


class Reader:
    """Reads events of an open stream, one after the other."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()
        self.last = ""

    async def event(self) -> tuple[str, dict[str, Any]]:
        async with asyncio.timeout(20):
            found = await self.maybe()
        assert found is not None, "the stream ended"
        return found

    async def maybe(self) -> tuple[str, dict[str, Any]] | None:
        """Return the next event; None at the end."""
        fields: dict[str, str] = {}
        async for line in self._lines:
            if line:
                name, _, value = line.partition(":")
                fields[name] = value.strip()
                continue
            if "data" in fields:
                self.last = fields.get("id", self.last)
                return fields["event"], orjson.loads(fields["data"])
            fields = {}
        return None

    async def rest(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the events up to the end."""
        found = []
        async with asyncio.timeout(20):
            while (event := await self.maybe()) is not None:
                found.append(event)
        return found


@asynccontextmanager
async def following(url: str, execution_id: str, last: str | None = None) -> AsyncIterator[Reader]:
    headers = {"authorization": "Bearer api-token"} | ({"last-event-id": last} if last is not None else {})
    path = f"{url}/api/v1/executions/{execution_id}/events"
    async with (
        httpx.AsyncClient(trust_env=False, timeout=30) as client,
        client.stream("GET", path, headers=headers) as response,
    ):
        yield Reader(response)


async def begin(plane: ControlPlane) -> tuple[str, str]:
    digest = (await plane.publish())["digest"]
    return await plane.execute(), digest


async def finish(plane: ControlPlane, execution_id: str, token: int, **changes: Any) -> None:
    body = {"unit": UNIT, "token": token, "status": "success"} | changes
    assert (await plane.call(execution_id, "finish", body)).status_code == 200


def names(events: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, str]]:
    return [(data.get("step_id", name), data["status"]) for name, data in events]


class TestFollow:
    async def test_anonymous(self, control_plane: ControlPlane) -> None:
        execution_id, _ = await begin(control_plane)
        response = await control_plane.public.get(f"/api/v1/executions/{execution_id}/events")
        assert response.status_code == 401

    async def test_unknown_and_anothers(self, control_plane: ControlPlane) -> None:
        execution_id, _ = await begin(control_plane)
        async with control_plane.database.system() as session:
            control_plane.act_for(await OrganizationRepository(session).ensure("other"))
        for name in (execution_id, "01990000-0000-7000-8000-00000000000a", "x"):
            response = await control_plane.api.get(f"/api/v1/executions/{name}/events")
            assert (response.status_code, response.json()["code"]) == (404, "not_found")

    async def test_steps_as_they_are_journaled_up_to_the_end(
        self, control_plane: ControlPlane, served_url: str
    ) -> None:
        execution_id, digest = await begin(control_plane)
        async with following(served_url, execution_id) as reader:
            assert reader.response.headers["content-type"].startswith("text/event-stream")
            assert names([await reader.event()]) == [("execution", "pending")]
            token = (await control_plane.lease(execution_id, digest))["token"]
            assert names([await reader.event()]) == [("execution", "running")]
            await control_plane.journal(execution_id, token, running=["hello"])
            assert names([await reader.event()]) == [("hello", "running")]
            await control_plane.journal(execution_id, token, DONE)
            name, data = await reader.event()
            assert (name, data["step_id"], data["status"]) == ("step", "hello", "success")
            assert "output" not in data
            error = StepError(code="timeout", message="line\nbreak")
            failed = StepRecord(id="bye", status="failed", attempts=1, error=error)
            await control_plane.journal(execution_id, token, failed, halt=True)
            await finish(control_plane, execution_id, token, status="failed", error=error.model_dump())
            rest = await reader.rest()
            assert names(rest) == [("bye", "failed"), ("execution", "failed")]
            assert rest[0][1]["error"] == {"code": "timeout", "message": "line\nbreak"}
        assert control_plane.app.state.streams.count == 0

    async def test_an_ended_one_is_told_whole_and_then_is_over(
        self, control_plane: ControlPlane, served_url: str
    ) -> None:
        execution_id, digest = await begin(control_plane)
        token = (await control_plane.lease(execution_id, digest))["token"]
        await control_plane.journal(execution_id, token, DONE, LAST)
        await finish(control_plane, execution_id, token)
        async with following(served_url, execution_id) as reader:
            assert set(names(await reader.rest())) == {
                ("hello", "success"), ("bye", "success"), ("execution", "success")
            }  # fmt: skip
        async with following(served_url, execution_id, reader.last) as again:
            assert again.response.status_code == 204

    async def test_resumed_by_the_last_id(self, control_plane: ControlPlane, served_url: str) -> None:
        execution_id, digest = await begin(control_plane)
        token = (await control_plane.lease(execution_id, digest))["token"]
        await control_plane.journal(execution_id, token, DONE)
        async with following(served_url, execution_id) as reader:
            assert names([await reader.event(), await reader.event()]) == [
                ("hello", "success"),
                ("execution", "running"),
            ]
        await control_plane.journal(execution_id, token, LAST)
        async with following(served_url, execution_id, reader.last) as again:
            assert names([await again.event()]) == [("bye", "success")]
            await finish(control_plane, execution_id, token)
            assert names(await again.rest()) == [("execution", "success")]

    @pytest.mark.parametrize(
        "last", ["", "x", "0.0.7.running", "0.9999999999999999.1.running", "5.0.0.success", "0.1.1.'--", "0" * 500]
    )
    async def test_an_id_of_nowhere_misses_nothing(
        self, control_plane: ControlPlane, served_url: str, last: str
    ) -> None:
        execution_id, digest = await begin(control_plane)
        token = (await control_plane.lease(execution_id, digest))["token"]
        await control_plane.journal(execution_id, token, DONE)
        async with following(served_url, execution_id, last) as reader:
            assert names([await reader.event()]) == [("hello", "success")]

    async def test_a_lost_listener_loses_nothing(self, control_plane: ControlPlane, served_url: str) -> None:
        execution_id, digest = await begin(control_plane)
        token = (await control_plane.lease(execution_id, digest))["token"]
        listener = control_plane.app.state.listener
        async with following(served_url, execution_id) as reader:
            assert names([await reader.event()]) == [("execution", "running")]
            async with control_plane.database.system() as session:
                await session.execute(
                    text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
                )
            await control_plane.journal(execution_id, token, DONE)
            assert names([await reader.event()]) == [("hello", "success")]
            await listener.connected.wait()
            await finish(control_plane, execution_id, token)
            assert names(await reader.rest()) == [("execution", "success")]

    async def test_heartbeats(self, control_plane: ControlPlane, served_url: str) -> None:
        control_plane.app.state.settings = control_plane.app.state.settings.model_copy(
            update={"event_heartbeat_seconds": 0.01}
        )
        execution_id, _ = await begin(control_plane)
        async with following(served_url, execution_id) as reader, asyncio.timeout(20):
            async for line in reader.response.aiter_lines():
                if line == ": heartbeat":
                    break

    async def test_a_reader_that_leaves_gives_its_place_back(
        self, control_plane: ControlPlane, served_url: str
    ) -> None:
        control_plane.app.state.settings = control_plane.app.state.settings.model_copy(
            update={"event_heartbeat_seconds": 0.05}
        )
        execution_id, _ = await begin(control_plane)
        async with following(served_url, execution_id) as reader:
            await reader.event()
            assert control_plane.app.state.streams.count == 1
        async with asyncio.timeout(20):
            while control_plane.app.state.streams.count:
                await asyncio.sleep(0.01)

    async def test_bounded(self, control_plane: ControlPlane, served_url: str) -> None:
        control_plane.app.state.streams = Streams(4)
        execution_id, _ = await begin(control_plane)
        async with following(served_url, execution_id) as first:
            await first.event()
            async with following(served_url, execution_id) as second:
                assert second.response.status_code == 503
                assert second.response.headers["retry-after"] == "5"

    async def test_nobody_is_told_where_nobody_watches(self, control_plane: ControlPlane) -> None:
        execution_id, digest = await begin(control_plane)
        token = (await control_plane.lease(execution_id, digest))["token"]
        listener = control_plane.app.state.listener
        async with listener.subscribed("agent_factory_steps", execution_id) as news:
            await control_plane.journal(execution_id, token, DONE)
            async with (
                listener.subscribed("agent_factory_executions", execution_id) as ended,
                asyncio.timeout(20),
            ):
                await finish(control_plane, execution_id, token)
                await ended.wait()
            assert not news.is_set()


class TestStreams:
    def test_one_organisation_leaves_room_to_the_others(self) -> None:
        from uuid import uuid4

        streams, greedy, modest = Streams(8), uuid4(), uuid4()
        streams.take(greedy)
        streams.take(greedy)
        with pytest.raises(Problem):
            streams.take(greedy)
        streams.take(modest)
        streams.give_back(greedy)
        streams.take(greedy)
        assert streams.count == 3


def test_a_position_survives_its_text() -> None:
    for text_of_it in ("0.0.0.", "3.1764000000000001.12.running"):
        assert str(Position.read(text_of_it)) == text_of_it
