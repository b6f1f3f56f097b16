"""The runner: parallelism, replay, and the execution's end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from compiler.plan import Unit
from operators.execution.flow import Flow
from operators.execution.records import Finish, Journaling, StepRecord
from operators.steps.base import StepResult
from tests.operators.execution.plans import plan_of, step
from tests.operators.execution.runner_tools import (
    Run,
    Scripted,
    fails,
    lease_request,
    scripted,
    settled,
)

pytestmark = pytest.mark.unit


class TestFlowOfAUnit:
    async def test_steps_run_as_parallel_as_the_edges_allow(self, types: Scripted) -> None:
        run = Run(plan_of(scripted("a", next="c"), scripted("b", next="c"), scripted("c")))
        types.gate("a", "b")
        task = asyncio.create_task(run.unit())
        await types.begun("a")
        await types.begun("b")
        types.open("a")
        await settled()
        assert "c" not in types.calls
        types.open("b")
        outcome = await task
        assert outcome.kind == "done"
        assert types.calls == {"a": 1, "b": 1, "c": 1}
        assert run.execution.status == "success"
        assert run.execution.output == {"c": {"from": "c"}}

    async def test_a_slow_step_does_not_hold_up_another_branch(self, types: Scripted) -> None:
        run = Run(plan_of(scripted("slow", next="x"), scripted("x"), scripted("a", next="b"), scripted("b")))
        types.gate("slow")
        task = asyncio.create_task(run.unit())
        await types.begun("b")
        assert "x" not in types.calls
        types.open("slow")
        assert (await task).kind == "done"

    async def test_a_join_of_any_runs_at_the_first_edge_and_once(self, types: Scripted) -> None:
        run = Run(plan_of(scripted("a", next="x"), scripted("b", next="x"), scripted("x", join="any")))
        types.gate("b")
        task = asyncio.create_task(run.unit())
        await types.begun("x")
        types.open("b")
        await task
        assert types.calls["x"] == 1

    async def test_results_are_journaled_before_successors_start(self, types: Scripted) -> None:
        run = Run(plan_of(scripted("a", next="b"), scripted("b")))
        gate = asyncio.Event()
        journal = run.store.journal

        async def slow(execution_id: str, entry: Journaling) -> Any:
            if [record.id for record in entry.steps] == ["a"]:
                await gate.wait()
            return await journal(execution_id, entry)

        run.store.journal = slow  # type: ignore[method-assign]
        task = asyncio.create_task(run.unit())
        await types.begun("a")
        await settled()
        assert "b" not in types.calls
        gate.set()
        assert (await task).kind == "done"
        assert types.calls["b"] == 1

    async def test_results_ready_together_share_a_journal_call(self, types: Scripted) -> None:
        names = [f"s{index}" for index in range(20)]
        run = Run(plan_of(*(scripted(name) for name in names)))
        types.gate(*names)
        calls: list[int] = []
        journal = run.store.journal

        async def counted(execution_id: str, entry: Journaling) -> Any:
            calls.append(len(entry.steps))
            await asyncio.sleep(0)
            return await journal(execution_id, entry)

        run.store.journal = counted  # type: ignore[method-assign]
        task = asyncio.create_task(run.unit())
        await types.begun("s19")
        types.open(*names)
        await task
        assert sum(calls) == 20
        assert len(calls) < 6

    async def test_large_results_do_not_share_a_call(self, types: Scripted) -> None:
        names = [f"s{index}" for index in range(6)]
        run = Run(plan_of(*(scripted(name) for name in names)))
        types.gate(*names)
        types.script = {name: lambda _: StepResult("x" * 8_000_000) for name in names}
        calls: list[int] = []
        journal = run.store.journal

        async def counted(execution_id: str, entry: Journaling) -> Any:
            calls.append(sum(len(record.model_dump_json()) for record in entry.steps))
            return await journal(execution_id, entry)

        run.store.journal = counted  # type: ignore[method-assign]
        task = asyncio.create_task(run.unit())
        await types.begun("s5")
        types.open(*names)
        assert (await task).kind == "done"
        assert sum(calls) > 48_000_000 > 20_000_000 > max(calls)

    async def test_who_looks_sees_which_steps_run(self, types: Scripted) -> None:
        run = Run(plan_of(scripted("a", next="b"), scripted("b")))
        types.gate("a")
        task = asyncio.create_task(run.unit())
        await types.begun("a")
        await settled()
        assert run.statuses() == {"a": "running"}
        types.open("a")
        await task

    async def test_a_thousand_steps(self, types: Scripted) -> None:
        chain = [scripted(f"s{n}", next=f"s{n + 1}") for n in range(999)]
        run = Run(plan_of(*chain, scripted("s999")))
        assert (await run.unit()).kind == "done"
        assert run.execution.output == {"s999": {"from": "s999"}}

    async def test_unit_of_skipped_steps(self, types: Scripted) -> None:
        plan = plan_of(
            step("a", type="scripted", then="b"),
            scripted("b", next="c"),
            scripted("c"),
            units=(Unit(id="one", steps=("a",)), Unit(id="two", steps=("b", "c"), upstream=("one",))),
        )
        types.script["a"] = lambda attempt: StepResult({"branch": None})
        run = Run(plan)
        assert (await run.unit("one")).kind == "done"
        assert run.execution.status == "running"
        assert (await run.unit("two")).kind == "skipped"
        assert run.statuses() == {"a": "success", "b": "skipped", "c": "skipped"}
        assert run.execution.status == "success"


class TestReplay:
    async def test_journaled_steps_are_not_called_again(self, types: Scripted) -> None:
        run = Run(plan_of(scripted("a", next="b"), scripted("b", next="c"), scripted("c")))
        types.gate("b")
        task = asyncio.create_task(run.unit(owner="killed"))
        await types.begun("b")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        types.open("b")
        await run.clock.move(100)
        assert (await run.unit(owner="next")).kind == "done"
        assert types.calls == {"a": 1, "b": 2, "c": 1}

    async def test_an_ended_execution_is_left_alone(self, types: Scripted) -> None:
        run = Run(plan_of(scripted("a")))
        await run.unit()
        outcome = await run.unit(owner="two")
        assert (outcome.kind, outcome.status) == ("ended", "success")
        assert types.calls == {"a": 1}

    async def test_a_crash_between_the_last_step_and_the_end(self, types: Scripted) -> None:
        run = Run(plan_of(scripted("a")))
        grant = await run.store.lease("run", lease_request("dead"))
        await run.store.journal(
            "run", Journaling(unit="all", token=grant.token, steps=[StepRecord(id="a", status="success", output=1)])
        )
        await run.clock.move(100)
        assert (await run.unit()).kind == "done"
        assert run.execution.output == {"a": 1}
        assert types.calls == {}

    async def test_a_clear_runs_failures_again_and_replays_successes(self, types: Scripted) -> None:
        run = Run(plan_of(scripted("a", next="b"), scripted("b")))
        types.script["b"] = fails()
        assert (await run.unit()).kind == "failed"
        types.script.clear()
        assert (await run.unit(owner="two", clear_number=1)).kind == "done"
        assert run.execution.status == "success"
        assert types.calls == {"a": 1, "b": 2}

    async def test_after_a_clear_the_workflow_has_its_whole_time_again(self, types: Scripted) -> None:
        run = Run(plan_of(scripted("a"), timeout_seconds=30))
        types.script["a"] = fails()
        assert (await run.unit()).kind == "failed"
        types.script.clear()
        run.clock.seconds += 3600
        assert (await run.unit(owner="two", clear_number=1)).kind == "done"
        assert run.execution.status == "success"


class TestStartsOnAny:
    def plan(self) -> Any:
        return plan_of(
            scripted("a", next="x"),
            scripted("b", next="x"),
            scripted("x", join="any", next="y"),
            scripted("y"),
            units=(
                Unit(id="a", steps=("a",)),
                Unit(id="b", steps=("b",)),
                Unit(id="segment.x", steps=("x", "y"), upstream=("a", "b"), starts_on_any=True),
            ),
        )

    async def test_undecided_gives_the_lease_back(self, types: Scripted) -> None:
        run = Run(self.plan())
        assert (await run.unit("segment.x")).kind == "undecided"
        assert types.calls == {}
        await run.store.lease("run", lease_request("other", unit="segment.x"))

    async def test_runs_at_the_first_taken_edge_and_the_last_unit_ends_it(self, types: Scripted) -> None:
        run = Run(self.plan())
        await run.unit("b")
        assert (await run.unit("segment.x")).kind == "done"
        assert run.execution.status == "running"
        await run.unit("a")
        assert run.execution.status == "success"

    async def test_the_failure_of_a_predecessor(self, types: Scripted) -> None:
        run = Run(self.plan())
        types.script["a"] = fails()
        assert (await run.unit("a")).kind == "failed"
        outcome = await run.unit("segment.x")
        assert (outcome.kind, outcome.status) == ("ended", "failed")


async def test_the_end_is_decided_once_by_the_last_unit(types: Scripted) -> None:
    plan = plan_of(scripted("a"), scripted("b"), units=(Unit(id="a", steps=("a",)), Unit(id="b", steps=("b",))))
    run = Run(plan)
    ends: list[Finish] = []
    finish = run.store.finish

    async def noted(execution_id: str, entry: Finish) -> Any:
        ends.append(entry)
        return await finish(execution_id, entry)

    run.store.finish = noted  # type: ignore[method-assign]
    await asyncio.gather(run.unit("a", owner="one"), run.unit("b", owner="two"))
    assert run.execution.status == "success"
    assert {end.status for end in ends} == {"success"}
    assert Flow(plan).undecided(run.execution.steps) == []


async def test_a_step_type_this_version_does_not_know() -> None:
    run = Run(plan_of(step("a", type="teleport")))
    assert (await run.unit()).failures == (("a", "unavailable_type"),)
