"""Steps that wait: in one process, parked, over time-outs, failures elsewhere and other processes."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from compiler.plan import Step, Unit
from operators.execution.runner import UnitOutcome
from operators.steps.base import Wake
from tests.operators.execution.plans import plan_of, step
from tests.operators.execution.runner_tools import START, Run, Scripted, scripted, settled

pytestmark = pytest.mark.unit


def wait(step_id: str = "pause", seconds: object = 60, **fields: Any) -> Step:
    return step(step_id, type="wait", config={"seconds": seconds}, **fields)


def in_seconds(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


class TestHeld:
    async def test_time_passes_and_the_flow_goes_on(self, types: Scripted) -> None:
        run = Run(plan_of(wait(next="after"), scripted("after")))
        task = asyncio.create_task(run.unit())
        await settled()
        assert run.statuses() == {"pause": "running"}
        await run.clock.move(59)
        assert run.statuses() == {"pause": "running"}
        await run.clock.move(1)
        assert (await task).kind == "done"
        assert run.execution.steps["pause"].output == {"waited_seconds": 60}
        assert types.calls == {"after": 1}

    async def test_a_failure_elsewhere_ends_the_wait(self, types: Scripted) -> None:
        plan = plan_of(wait(next="after"), scripted("after"))
        run = Run(plan)
        task = asyncio.create_task(run.unit())
        await settled()
        run.store.cancel("run")
        outcome = await asyncio.wait_for(task, 10)
        assert outcome.kind == "failed"
        assert run.statuses() == {"pause": "cancelled", "after": "cancelled"}

    async def test_longer_than_its_time_out(self) -> None:
        run = Run(plan_of(wait(timeout_seconds=30.0)))
        task = asyncio.create_task(run.unit())
        await settled()
        await run.clock.move(30)
        assert (await task).failures == (("pause", "timeout"),)

    @pytest.mark.parametrize(
        ("until", "waited"),
        [
            ("2026-01-01T00:00:45Z", 45),
            ("2026-01-01T01:00:45+01:00", 45),
            ("2026-01-01T00:00:45", 45),
            ("2025-12-31T23:59:59.5Z", 0),
        ],
    )
    async def test_until_a_moment(self, until: str, waited: float) -> None:
        run = Run(plan_of(step("pause", type="wait", config={"until": "{{ input.until }}"})), input={"until": until})
        task = asyncio.create_task(run.unit())
        await settled()
        await run.clock.move(waited)
        assert (await asyncio.wait_for(task, 10)).kind == "done"
        assert run.execution.steps["pause"].output == {"waited_seconds": waited}

    @pytest.mark.parametrize("value", [-1, True, "soon", None, 1e9, [1]])
    async def test_no_number_of_seconds(self, value: object) -> None:
        run = Run(plan_of(wait(seconds="{{ input.value }}")), input={"value": value})
        assert (await run.unit()).failures == (("pause", "invalid_config"),)

    @pytest.mark.parametrize("value", ["tomorrow", 5, "", "2026-13-01", None])
    async def test_no_moment(self, value: object) -> None:
        run = Run(plan_of(step("pause", type="wait", config={"until": "{{ input.until }}"})), input={"until": value})
        assert (await run.unit()).failures == (("pause", "invalid_config"),)


class TestParked:
    async def parked(self, run: Run, **fields: Any) -> UnitOutcome:
        return await run.unit("pause", parks=True, **fields)

    def run(self, **fields: Any) -> Run:
        plan = plan_of(
            wait(next="after"), scripted("after"), **fields,
            units=(Unit(id="pause", steps=("pause",)), Unit(id="after", steps=("after",), upstream=("pause",))),
        )  # fmt: skip
        return Run(plan)

    async def test_it_says_when_to_look_again(self, types: Scripted) -> None:
        run = self.run()
        outcome = await self.parked(run)
        assert (outcome.kind, outcome.wake) == ("waiting", Wake(until=in_seconds(60)))
        assert (run.execution.status, run.statuses()) == ("running", {"pause": "running"})

    async def test_another_process_goes_on_where_it_began(self, types: Scripted) -> None:
        run = self.run()
        await self.parked(run)
        run.clock.seconds = 40
        again = await self.parked(run, owner="two")
        assert again.wake == Wake(until=in_seconds(60)), "it does not begin anew"
        run.clock.seconds = 61
        assert (await self.parked(run, owner="three")).kind == "done"
        record = run.execution.steps["pause"]
        assert (record.output, record.started_at, record.duration_ms) == ({"waited_seconds": 60}, START, 61_000)
        assert (await run.unit("after")).status == "success"

    async def test_the_workflows_time_out_wakes_it(self, types: Scripted) -> None:
        run = self.run(timeout_seconds=20.0)
        assert (await self.parked(run)).wake == Wake(until=in_seconds(20))
        run.clock.seconds = 20
        assert (await self.parked(run)).kind == "failed"
        assert run.execution.error is not None
        assert run.execution.error.code == "workflow_timeout"
        assert run.statuses() == {"pause": "cancelled", "after": "cancelled"}

    async def test_two_side_by_side_wake_it_at_the_first_moment(self, types: Scripted) -> None:
        run = Run(plan_of(wait("soon", seconds=30), wait("late", seconds=60)))
        outcome = await run.unit(parks=True)
        assert outcome.wake is not None
        assert outcome.wake.until == in_seconds(30)

    async def test_a_failure_beside_it_ends_the_execution_at_once(self, types: Scripted) -> None:
        plan = plan_of(wait(), step("bad", config={"set": {"x": "{{ input.no }}"}}),
                       units=(Unit(id="pause", steps=("pause",)), Unit(id="bad", steps=("bad",))))  # fmt: skip
        run = Run(plan, input={})
        await self.parked(run)
        assert (await run.unit("bad")).status == "failed"
        assert run.statuses() == {"pause": "cancelled", "bad": "failed"}
        assert (await self.parked(run)).kind == "ended"

    async def test_a_step_of_no_time(self) -> None:
        run = Run(plan_of(wait(seconds=0), units=(Unit(id="pause", steps=("pause",)),)))
        assert (await self.parked(run)).kind == "done"

    async def test_until_the_end_of_the_calendar(self) -> None:
        config = {"until": "9999-12-31T23:59:59-12:00"}
        run = Run(plan_of(step("pause", type="wait", config=config), units=(Unit(id="pause", steps=("pause",)),)))
        outcome = await self.parked(run)
        assert outcome.wake is not None
        assert outcome.wake.until == datetime.fromisoformat(config["until"])
