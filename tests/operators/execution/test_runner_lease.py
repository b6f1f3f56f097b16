"""The runner and its lease: waiting for it, keeping and losing it, a store that is away."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from operators.execution.memory import InMemoryStore
from operators.execution.records import LeaseGrant, LeaseRequest
from operators.execution.store import RejectedError, StaleLeaseError, StoreError
from tests.operators.execution.plans import plan_of, step
from tests.operators.execution.runner_tools import (
    START,
    ImpatientClock,
    Run,
    Scripted,
    lease_request,
    scripted,
    settled,
)

pytestmark = pytest.mark.unit


class TestLease:
    async def test_waits_while_another_holds_it(self, types: Scripted) -> None:
        run = Run(plan_of(scripted("a")))
        await run.store.lease("run", lease_request("other"))
        task = asyncio.create_task(run.unit())
        await settled()
        assert types.calls == {}
        await run.clock.move(22)
        assert (await task).kind == "done"

    async def test_heartbeats_keep_it(self, types: Scripted) -> None:
        run = Run(plan_of(scripted("a")))
        types.gate("a")
        task = asyncio.create_task(run.unit())
        await types.begun("a")
        for _ in range(10):
            await run.clock.move(5)
        types.open("a")
        assert (await task).kind == "done"

    async def test_taken_over_stops_everything_at_once(self, types: Scripted) -> None:
        run = Run(plan_of(scripted("a", next="c"), scripted("b"), scripted("c")))
        types.gate("a", "b")
        task = asyncio.create_task(run.unit())
        await types.begun("b")
        run.clock.seconds += 100
        await run.store.lease("run", lease_request("thief"))
        types.open("b")
        with pytest.raises(StaleLeaseError):
            await task
        assert "c" not in types.calls
        assert run.statuses().get("b") != "success"

    async def test_no_heartbeat_gets_through_for_a_lease_time(self, types: Scripted) -> None:
        run = Run(plan_of(scripted("a")))
        types.gate("a")

        async def down(*_: Any) -> Any:
            raise StoreError("away")

        task = asyncio.create_task(run.unit())
        await types.begun("a")
        await settled()
        run.store.heartbeat = down  # type: ignore[method-assign]
        for _ in range(8):
            await run.clock.move(5)
        with pytest.raises(StaleLeaseError):
            await task


class TestUnsteadyStore:
    async def test_short_trouble_is_waited_out(self, types: Scripted) -> None:
        run = Run(plan_of(scripted("a", next="b"), scripted("b")), clock=ImpatientClock())
        for name in ("lease", "journal", "settle", "finish"):
            setattr(run.store, name, _failing_first(getattr(run.store, name), times=3))
        assert (await run.unit()).kind == "done"
        assert types.calls == {"a": 1, "b": 1}

    async def test_it_gives_up_in_bounded_time(self, types: Scripted) -> None:
        run = Run(plan_of(scripted("a")), clock=ImpatientClock())
        run.store.journal = _failing_first(run.store.journal, times=1000)  # type: ignore[method-assign]
        with pytest.raises(StoreError) as error:
            await run.unit()
        assert type(error.value) is StoreError
        assert 30 < sum(run.clock.slept) < 120

    async def test_a_refusal_is_not_repeated(self) -> None:
        run = Run(plan_of(step("a")))
        run.store.settle = _failing_first(run.store.settle, times=1, error=RejectedError("no"))  # type: ignore[method-assign]
        with pytest.raises(RejectedError):
            await run.unit()


def _failing_first(call: Any, *, times: int, error: StoreError | None = None) -> Any:
    left = [times]

    async def wrapped(*args: Any) -> Any:
        if left[0] > 0:
            left[0] -= 1
            raise error or StoreError("away")
        return await call(*args)

    return wrapped


class OfAnotherTime:
    """A store whose clock is some way ahead of the runner's."""

    def __init__(self, store: InMemoryStore, ahead: timedelta) -> None:
        self._store = store
        self.ahead = ahead

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def lease(self, execution_id: str, request: LeaseRequest) -> LeaseGrant:
        grant = await self._store.lease(execution_id, request)
        return grant.model_copy(update={"now": START + self.ahead})


class TestClock:
    @pytest.mark.parametrize("hours", [-30, 5])
    async def test_the_stores_time_counts(self, types: Scripted, hours: int) -> None:
        run = Run(plan_of(scripted("a"), timeout_seconds=60.0))
        ahead = timedelta(seconds=20)
        run.clock.seconds = 3600.0 * hours
        types.gate("a")
        task = asyncio.create_task(run.unit(store=OfAnotherTime(run.store, ahead)))
        await types.begun("a")
        assert run.statuses() == {"a": "running"}
        await run.clock.move(5)
        types.open("a")
        assert (await task).kind == "done"
        record = run.execution.steps["a"]
        assert (record.started_at, record.ended_at) == (START + ahead, START + ahead + timedelta(seconds=5))

    async def test_what_began_later_than_now_took_no_time(self, types: Scripted) -> None:
        """The store's clock was set back while a step waited."""
        pause = step("pause", type="wait", config={"seconds": 60})
        run = Run(plan_of(pause))
        store = OfAnotherTime(run.store, timedelta(hours=2))
        assert (await run.unit(store=store, parks=True)).kind == "waiting"
        store.ahead = timedelta(hours=1)
        assert (await run.unit(store=store, owner="two", parks=True)).kind == "waiting"
        store.ahead = timedelta(hours=2, seconds=61)
        assert (await run.unit(store=store, owner="three", parks=True)).kind == "done"
        assert run.execution.steps["pause"].duration_ms == 61_000
