"""Cancelling a running unit: what runs is cut off within a heartbeat, and the execution ends as cancelled."""

from __future__ import annotations

import asyncio

import pytest

from compiler.plan import Unit
from operators.execution.records import Emission
from operators.execution.store import ExecutionEndedError
from tests.operators.execution.plans import plan_of
from tests.operators.execution.runner_tools import HandClock, ImpatientClock, Run, Scripted, scripted

pytestmark = pytest.mark.unit


async def test_a_running_step_is_cut_off(types: Scripted) -> None:
    run = Run(plan_of(scripted("a", next="b"), scripted("b")))
    types.gate("a")
    task = asyncio.create_task(run.unit())
    await types.begun("a")
    run.store.cancel("run")
    await run.clock.move(8)
    outcome = await task
    assert (outcome.kind, outcome.status) == ("failed", "cancelled")
    assert run.statuses() == {"a": "cancelled", "b": "cancelled"}
    assert run.execution.error is not None
    assert run.execution.error.code == "cancelled"
    assert run.execution.steps["a"].duration_ms == 8000


async def test_a_unit_whose_only_step_is_cut_off(types: Scripted) -> None:
    run = Run(plan_of(scripted("a")))
    types.gate("a")
    task = asyncio.create_task(run.unit())
    await types.begun("a")
    run.store.cancel("run")
    await run.clock.move(8)
    assert (await task).status == "cancelled"
    assert run.execution.output is None


async def test_heard_with_the_answer_to_a_journal_write(types: Scripted) -> None:
    run = Run(plan_of(scripted("a", next="b"), scripted("b"), scripted("c")))
    types.gate("a", "c")
    task = asyncio.create_task(run.unit())
    await types.begun("a")
    await types.begun("c")
    run.store.cancel("run")
    types.open("a")
    assert (await task).status == "cancelled"
    assert run.statuses() == {"a": "success", "b": "cancelled", "c": "cancelled"}


async def test_every_unit_is_cut_off_and_the_last_ends_the_execution(types: Scripted) -> None:
    run = Run(plan_of(scripted("a"), scripted("b"), units=(Unit(id="a", steps=("a",)), Unit(id="b", steps=("b",)))))
    types.gate("a", "b")
    tasks = [asyncio.create_task(run.unit(unit, owner=unit)) for unit in ("a", "b")]
    await types.begun("a")
    await types.begun("b")
    run.store.cancel("run")
    await run.clock.move(8)
    outcomes = await asyncio.gather(*tasks)
    assert [outcome.kind for outcome in outcomes] == ["failed", "failed"]
    assert run.execution.status == "cancelled"


async def test_a_failure_before_the_cancel_stays_the_reason(types: Scripted) -> None:
    run = Run(plan_of(scripted("a"), scripted("b")))
    types.gate("a")
    types.script["b"] = lambda _: asyncio.sleep(0, result=1 / 0)  # breaks off with an internal error
    task = asyncio.create_task(run.unit())
    await types.begun("b")
    await run.clock.move(1)
    run.store.cancel("run")
    await run.clock.move(8)
    await task
    assert run.execution.status == "failed"
    assert run.statuses() == {"a": "cancelled", "b": "failed"}


async def test_a_runner_that_takes_over_starts_nothing_and_ends_it(types: Scripted) -> None:
    run = Run(plan_of(scripted("a"), scripted("b")))
    types.gate("a", "b")
    first = asyncio.create_task(run.unit())
    await types.begun("a")
    run.store.cancel("run")
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await run.clock.move(22)
    assert (await run.unit(owner="two")).status == "cancelled"
    assert types.calls == {"a": 1, "b": 1}


async def test_a_runner_that_is_told_to_stop_gives_its_lease_back(types: Scripted) -> None:
    run = Run(plan_of(scripted("a")))
    types.gate("a")
    first = asyncio.create_task(run.unit())
    await types.begun("a")
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    types.open("a")
    # No time passes by this clock, so that a held lease would keep it waiting.
    assert (await asyncio.wait_for(run.unit(owner="two"), 20)).kind == "done"
    assert types.calls == {"a": 2}


async def test_cancelled_before_it_began(types: Scripted) -> None:
    run = Run(plan_of(scripted("a")))
    run.store.cancel("run")
    assert run.execution.status == "cancelled"
    assert run.statuses() == {"a": "cancelled"}
    outcome = await run.unit()
    assert (outcome.kind, outcome.status) == ("ended", "cancelled")


async def test_time_running_out_over_the_only_step_is_no_success(types: Scripted) -> None:
    run = Run(plan_of(scripted("a"), timeout_seconds=0.05), clock=ImpatientClock())
    types.gate("a")
    await run.unit()
    assert run.execution.status == "failed"
    assert run.execution.error is not None
    assert run.execution.error.code == "workflow_timeout"


async def test_a_cancel_is_no_time_out(types: Scripted) -> None:
    run = Run(plan_of(scripted("a"), timeout_seconds=30), clock=HandClock())
    types.gate("a")
    task = asyncio.create_task(run.unit())
    await types.begun("a")
    run.store.cancel("run")
    await run.clock.move(60)
    assert (await task).status == "cancelled"


async def test_an_ended_execution_emits_nothing() -> None:
    run = Run(plan_of(scripted("a")))
    run.store.cancel("run")
    with pytest.raises(ExecutionEndedError):
        await run.store.emit_event("run", Emission(epoch=0, step_id="a", type="x"))
