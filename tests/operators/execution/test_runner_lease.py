"""The runner and its lease: waiting for it, keeping and losing it, a store that is away."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from operators.execution.store import RejectedError, StaleLeaseError, StoreError
from tests.operators.execution.plans import plan_of, step
from tests.operators.execution.runner_tools import (
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
