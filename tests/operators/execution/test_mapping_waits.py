"""Maps whose bodies wait: in one process, and with the process given back while nothing in them runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from compiler.plan import Plan, Step, Unit
from operators.execution.runner import UnitOutcome
from operators.execution.store import MOST_AWAITED
from operators.steps.base import PodWatch, Scope, StepFailedError, StepResult, StepServices, Waiting, Wake
from operators.steps.registry import HANDLERS
from tests.operators.execution.plans import plan_of, step
from tests.operators.execution.runner_tools import START, Run, scripted, settled
from tests.operators.execution.test_mapping import ByItem, fails, mapped

pytestmark = pytest.mark.unit


class Doors:
    """A type of step that waits until a test opens its door, by the step's id in the journal."""

    def __init__(self) -> None:
        self.open: set[str] = set()
        self.polls: list[str] = []
        self.abandoned: list[str] = []
        self.until: datetime | None = None
        self.awaited: dict[str, tuple[str, ...]] = {}
        self.pods: dict[str, tuple[PodWatch, ...]] = {}

    def render(self, step: Step, scope: Scope) -> None:
        return None

    async def poll(self, request: Any, services: StepServices, waiting: Waiting, now: datetime) -> StepResult | Wake:
        name = waiting.key.step_id
        self.polls.append(name)
        if f"broken {name}" in self.open:
            raise StepFailedError("broken", "it broke", retryable=False)
        if name in self.open:
            return StepResult(name)
        return Wake(until=self.until, awaited=self.awaited.get(name, ()), pods=self.pods.get(name, ()))

    async def abandon(self, request: Any, services: StepServices, waiting: Waiting) -> None:
        self.abandoned.append(waiting.key.step_id)


@pytest.fixture
def doors() -> Iterator[Doors]:
    HANDLERS["door"] = handler = Doors()
    try:
        yield handler
    finally:
        del HANDLERS["door"]


@pytest.fixture
def types() -> Iterator[ByItem]:
    HANDLERS["scripted"] = handler = ByItem()
    try:
        yield handler
    finally:
        del HANDLERS["scripted"]


def door(step_id: str, **fields: Any) -> Step:
    return step(step_id, type="door", **fields)


def map_plan(*body: Step, **fields: Any) -> Plan:
    """A map that is a unit of its own."""
    return plan_of(mapped("m", *body, **fields), units=(Unit(id="m", kind="map", steps=("m",)),))


def statuses(run: Run) -> dict[str, str]:
    return {step_id: record.status for step_id, record in run.execution.steps.items()}


class Parked(Run):
    """A run whose process is given back; each look is a new runner."""

    looks = 0

    async def look(self) -> UnitOutcome:
        self.looks += 1
        return await self.unit("m", owner=f"look {self.looks}", parks=True)


class TestGivenBack:
    async def test_it_goes_on_where_it_was(self, types: ByItem, doors: Doors) -> None:
        body = [scripted("a", next="b"), door("b", next="c"), scripted("c")]
        run = Parked(map_plan(*body, result="{{ b.output }}"), input=[0, 1])
        outcome = await run.look()
        assert outcome.kind == "waiting"
        assert statuses(run) == {
            "m": "running", "m[0].a": "success", "m[0].b": "running", "m[1].a": "success", "m[1].b": "running",
        }  # fmt: skip
        doors.open = {"m[1].b"}
        assert (await run.look()).kind == "waiting"
        assert run.execution.steps["m[1].c"].status == "success"
        doors.open = {"m[0].b", "m[1].b"}
        assert (await run.look()).kind == "done"
        assert run.execution.output == {"m": ["m[0].b", "m[1].b"]}
        assert types.calls == {"m[0].a": 1, "m[1].a": 1, "m[1].c": 1, "m[0].c": 1}

    async def test_nothing_parks_while_something_runs(self, types: ByItem, doors: Doors) -> None:
        run = Parked(map_plan(scripted("a"), door("b")), input=[0])
        types.gate("m[0].a")
        task = asyncio.create_task(run.look())
        await types.begun("m[0].a")
        await settled()
        assert not task.done()
        types.open("m[0].a")
        assert (await task).kind == "waiting"
        assert run.execution.steps["m[0].a"].status == "success"

    async def test_what_waits_keeps_its_place(self, types: ByItem, doors: Doors) -> None:
        run = Parked(map_plan(door("b"), concurrency=2, result="{{ b.output }}"), input=[0, 1, 2])
        await run.look()
        assert doors.polls == ["m[0].b", "m[1].b"]
        doors.open = {"m[1].b"}
        await run.look()
        assert doors.polls[2:] == ["m[0].b", "m[1].b", "m[2].b"]
        doors.open = {"m[0].b", "m[1].b", "m[2].b"}
        assert (await run.look()).kind == "done"
        assert run.execution.output == {"m": ["m[0].b", "m[1].b", "m[2].b"]}

    async def test_a_step_began_when_it_first_did(self, types: ByItem, doors: Doors) -> None:
        run = Parked(map_plan(door("b")), input=[0])
        await run.look()
        run.clock.seconds += 30
        doors.open = {"m[0].b"}
        await run.look()
        record = run.execution.steps["m[0].b"]
        assert (record.started_at, record.duration_ms) == (START, 30_000)
        assert (run.execution.steps["m"].started_at, run.execution.steps["m"].duration_ms) == (START, 30_000)

    async def test_it_wakes_at_the_first_moment_and_for_what_is_awaited(self, types: ByItem, doors: Doors) -> None:
        run = Parked(map_plan(door("b")), input=[0, 1])
        doors.until, doors.awaited = START + timedelta(seconds=90), {"m[1].b": ("child",)}
        wake = (await run.look()).wake
        assert wake is not None
        assert (wake.until, wake.awaited) == (doors.until, ("child",))

    async def test_it_wakes_for_each_of_several_that_are_awaited(self, types: ByItem, doors: Doors) -> None:
        run = Parked(map_plan(door("b")), input=[0, 1])
        doors.awaited = {"m[0].b": ("one",), "m[1].b": ("two",)}
        wake = (await run.look()).wake
        assert wake is not None
        assert (wake.until, wake.awaited) == (None, ("one", "two"))

    async def test_it_waits_for_the_pods_of_all_items(self, types: ByItem, doors: Doors) -> None:
        run = Parked(map_plan(door("b")), input=[0, 1, 2])
        doors.until = START + timedelta(seconds=300)
        one, two = PodWatch("ns", "one", "job"), PodWatch("ns", "two")
        doors.pods = {"m[0].b": (one,), "m[1].b": (two,), "m[2].b": (one,)}
        wake = (await run.look()).wake
        assert wake is not None
        assert (wake.until, wake.pods) == (doors.until, (one, two))

    async def test_of_more_than_it_can_be_told_of_it_looks_again_soon(self, types: ByItem, doors: Doors) -> None:
        count = MOST_AWAITED + 1
        run = Parked(map_plan(door("b"), concurrency=count), input=list(range(count)))
        doors.awaited = {f"m[{number}].b": (f"child{number}",) for number in range(count)}
        wake = (await run.look()).wake
        assert wake is not None
        assert (wake.until, len(wake.awaited)) == (START + timedelta(seconds=5), MOST_AWAITED)

    async def test_a_failure_waits_for_what_waits_and_starts_nothing(self, types: ByItem, doors: Doors) -> None:
        run = Parked(map_plan(door("b", next="c"), scripted("c"), concurrency=2), input=[0, 1, 2])
        await run.look()
        doors.open = {"broken m[0].b"}
        assert (await run.look()).kind == "waiting"
        doors.open |= {"m[1].b"}
        assert (await run.look()).kind == "failed"
        assert statuses(run) == {
            "m": "failed", "m[0].b": "failed", "m[0].c": "upstream_failed", "m[1].b": "success", "m[1].c": "cancelled",
        }  # fmt: skip
        assert types.calls == {}

    async def test_its_time_out_counts_from_its_start_and_takes_back_what_was_begun(
        self, types: ByItem, doors: Doors
    ) -> None:
        run = Parked(map_plan(door("b", next="c"), scripted("c"), timeout_seconds=60, concurrency=1), input=[0, 1])
        wake = (await run.look()).wake
        assert wake is not None
        assert wake.until == START + timedelta(seconds=60)
        run.clock.seconds += 61
        assert (await run.look()).kind == "failed"
        assert doors.abandoned == ["m[0].b"]
        assert statuses(run) == {"m": "failed", "m[0].b": "cancelled", "m[0].c": "cancelled"}
        error = run.execution.steps["m"].error
        assert error is not None
        assert error.code == "timeout"

    async def test_cancelled_meanwhile(self, types: ByItem, doors: Doors) -> None:
        run = Parked(map_plan(door("b")), input=[0])
        await run.look()
        run.store.cancel("run")
        outcome = await run.look()
        assert (outcome.kind, outcome.status) == ("ended", "cancelled")


class TestHeld:
    async def test_in_one_process_it_ends_alike(self, types: ByItem, doors: Doors) -> None:
        run = Run(
            map_plan(
                step("w", type="wait", config={"seconds": 5}, next="c"),
                scripted("c"),
                concurrency=1,
                result="{{ w.output.waited_seconds }}",
            ),
            input=[0, 1],
        )
        task = asyncio.create_task(run.unit("m"))
        await settled()
        await run.clock.move(5)
        assert run.execution.steps["m[0].c"].status == "success"
        await run.clock.move(5)
        assert (await task).kind == "done"
        assert run.execution.output == {"m": [5, 5]}

    async def test_a_failure_elsewhere_ends_the_wait(self, types: ByItem, doors: Doors) -> None:
        plan = plan_of(
            scripted("bad"),
            mapped("m", door("b", next="c"), scripted("c")),
            units=(Unit(id="bad", steps=("bad",)), Unit(id="m", kind="map", steps=("m",))),
        )
        run = Run(plan, input=[0])
        types.script["bad"] = fails()
        task = asyncio.create_task(run.unit("m", owner="two"))
        await settled()
        await run.unit("bad")
        assert (await task).kind == "failed"
        assert doors.abandoned == ["m[0].b"]
        assert run.statuses() == {"bad": "failed", "m": "cancelled"}
