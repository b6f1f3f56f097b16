"""The runner: parallelism, replay, retry, time-outs, halting, fencing and the execution's end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from compiler.plan import Retry, Unit
from operators.execution.flow import Flow
from operators.execution.records import Finish, Journaling, LeaseRequest, StepRecord
from operators.execution.store import RejectedError, StaleLeaseError, StoreError
from operators.steps.base import StepFailedError, StepResult
from tests.operators.execution.plans import plan_of, step
from tests.operators.execution.runner_tools import (
    ImpatientClock,
    Run,
    Scripted,
    scripted,
    scripted_type,
    settled,
)

pytestmark = pytest.mark.unit


@pytest.fixture
def types() -> Iterator[Scripted]:
    with scripted_type() as handler:
        yield handler


def fails(code: str = "model_error", *, retryable: bool = True) -> Any:
    def script(attempt: int) -> StepResult:
        raise StepFailedError(code, f"attempt {attempt}", retryable=retryable)

    return script


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
        grant = await run.store.lease("run", _request("dead"))
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


class TestRetry:
    async def test_delays(self, types: Scripted) -> None:
        types.script["a"] = fails()
        run = Run(
            plan_of(scripted("a", retry=Retry(attempts=6, backoff_seconds=2, max_backoff_seconds=9))),
            clock=ImpatientClock(),
        )
        assert (await run.unit()).kind == "failed"
        assert run.clock.slept == [2, 4, 8, 9, 9]
        record = run.execution.steps["a"]
        assert record.attempts == 6
        assert record.error is not None
        assert record.error.message == "attempt 6"

    async def test_success_after_failures(self, types: Scripted) -> None:
        def script(attempt: int) -> StepResult:
            return fails()(attempt) if attempt < 3 else StepResult("ok")

        types.script["a"] = script
        run = Run(plan_of(scripted("a", retry=Retry(attempts=5))), clock=ImpatientClock())
        assert (await run.unit()).kind == "done"
        record = run.execution.steps["a"]
        assert (record.attempts, record.output, record.error) == (3, "ok", None)

    async def test_what_cannot_help_is_not_retried(self, types: Scripted) -> None:
        types.script["a"] = fails("invalid_config", retryable=False)
        run = Run(plan_of(scripted("a", retry=Retry(attempts=5))))
        await run.unit()
        assert types.calls["a"] == 1
        assert run.execution.steps["a"].attempts == 1

    async def test_an_error_of_rendering_is_the_steps_and_not_retried(self) -> None:
        config = {"set": {"x": "{{ input.missing }}"}}
        run = Run(plan_of(step("a", config=config, retry=Retry(attempts=5))), input={})
        assert (await run.unit()).failures == (("a", "expression_error"),)
        assert run.execution.steps["a"].attempts == 1

    async def test_usage_of_every_attempt_is_kept(self, types: Scripted) -> None:
        from operators.execution.records import Usage

        usage = Usage(provider="p", model="m", input_tokens=1, output_tokens=1)

        def script(attempt: int) -> StepResult:
            if attempt == 1:
                raise StepFailedError("invalid_output", "no", retryable=True, usage=(usage,))
            return StepResult("ok", usage=(usage,))

        types.script["a"] = script
        run = Run(plan_of(scripted("a", retry=Retry(attempts=2))), clock=ImpatientClock())
        await run.unit()
        assert len(run.execution.steps["a"].usage) == 2

    @pytest.mark.parametrize("output", ["\ud800", {"\udfff": 1}, [float("inf")], float("nan")])
    async def test_an_output_no_journal_can_keep(self, output: Any, types: Scripted) -> None:
        types.script["a"] = lambda attempt: StepResult(output)
        run = Run(plan_of(scripted("a")))
        assert (await run.unit()).failures == (("a", "invalid_output"),)

    async def test_an_output_larger_than_the_journal_takes(self, types: Scripted) -> None:
        run = Run(plan_of(scripted("a")))
        types.script["a"] = lambda _: StepResult(["x" * 5_000_000, "y" * 5_000_000])
        assert (await run.unit()).failures == (("a", "output_too_large"),)

    async def test_a_defect_of_ours_fails_the_step_without_its_text(self, types: Scripted) -> None:
        def script(attempt: int) -> StepResult:
            raise ValueError("tenant text")

        types.script["a"] = script
        run = Run(plan_of(scripted("a", retry=Retry(attempts=3))))
        await run.unit()
        error = run.execution.steps["a"].error
        assert error is not None
        assert error.code == "internal_error"
        assert "tenant" not in error.message


class TestTimeouts:
    async def test_an_attempt_that_takes_too_long(self, types: Scripted) -> None:
        types.gate("a")
        run = Run(plan_of(scripted("a", timeout_seconds=0.01, retry=Retry(attempts=2))), clock=ImpatientClock())
        assert (await run.unit()).failures == (("a", "timeout"),)
        assert types.calls["a"] == 2

    async def test_the_workflow_runs_out_of_time(self, types: Scripted) -> None:
        types.gate("a")
        plan = plan_of(scripted("a", next="b"), scripted("b"), scripted("c"), timeout_seconds=0.05)
        run = Run(plan)
        assert (await run.unit()).kind == "failed"
        assert run.statuses() == {"a": "cancelled", "b": "cancelled", "c": "success"}
        assert run.execution.status == "failed"
        assert run.execution.error is not None
        assert run.execution.error.code == "workflow_timeout"
        assert run.execution.output is None
        assert run.execution.steps["a"].attempts == 1
        assert run.execution.steps["b"].attempts == 0

    async def test_the_workflow_runs_out_of_time_in_its_last_step(self, types: Scripted) -> None:
        types.gate("a")
        run = Run(plan_of(scripted("a"), timeout_seconds=0.05))
        assert (await run.unit()).kind == "failed"
        assert run.statuses() == {"a": "cancelled"}
        assert run.execution.status == "failed"
        assert run.execution.error is not None
        assert run.execution.error.code == "workflow_timeout"

    async def test_it_counts_from_acceptance(self, types: Scripted) -> None:
        run = Run(plan_of(scripted("a"), timeout_seconds=60))
        await run.clock.move(61)
        assert (await run.unit()).kind == "failed"
        assert types.calls == {}
        assert run.execution.error is not None
        assert run.execution.error.code == "workflow_timeout"


class TestFailure:
    async def test_running_steps_finish_and_none_starts(self, types: Scripted) -> None:
        run = Run(
            plan_of(
                scripted("bad", next="behind"), scripted("behind"), scripted("slow", next="never"), scripted("never")
            )
        )
        types.gate("slow")
        types.script["bad"] = fails()
        task = asyncio.create_task(run.unit())
        await types.begun("slow")
        await settled()
        types.open("slow")
        outcome = await task
        assert outcome.kind == "failed"
        assert outcome.failures == (("bad", "model_error"),)
        assert run.statuses() == {
            "bad": "failed",
            "behind": "upstream_failed",
            "slow": "success",
            "never": "cancelled",
        }
        assert run.execution.output is None
        assert run.execution.error is not None
        assert run.execution.error.code == "model_error"
        assert "bad" in run.execution.error.message

    async def test_nothing_starts_while_the_failure_is_on_its_way_to_the_journal(self, types: Scripted) -> None:
        run = Run(plan_of(scripted("bad"), scripted("a", next="never"), scripted("never")))
        types.gate("bad")
        types.script["bad"] = fails()
        arrived, gate = asyncio.Event(), asyncio.Event()
        journal = run.store.journal

        async def slow(execution_id: str, entry: Journaling) -> Any:
            state = await journal(execution_id, entry)
            if [record.id for record in entry.steps] == ["a"]:
                arrived.set()
                await gate.wait()
            return state

        run.store.journal = slow  # type: ignore[method-assign]
        task = asyncio.create_task(run.unit())
        await arrived.wait()
        types.open("bad")
        await settled()
        gate.set()
        assert (await task).kind == "failed"
        assert "never" not in types.calls

    async def test_continue(self, types: Scripted) -> None:
        run = Run(plan_of(scripted("bad", next="after", on_error="continue"), scripted("after")))
        types.script["bad"] = fails()
        assert (await run.unit()).kind == "done"
        assert run.execution.status == "success"

    async def test_goto(self, types: Scripted) -> None:
        run = Run(plan_of(scripted("bad", next="after", goto="rescue"), scripted("after"), scripted("rescue")))
        types.script["bad"] = fails()
        assert (await run.unit()).kind == "done"
        assert run.statuses() == {"bad": "failed", "after": "skipped", "rescue": "success"}

    async def test_the_error_is_seen_by_what_follows(self, types: Scripted) -> None:
        config = {"set": {"why": "{{ bad.error.code }}", "how": "{{ bad.status }}"}}
        run = Run(plan_of(scripted("bad", next="after", on_error="continue"), step("after", config=config)))
        types.script["bad"] = fails()
        await run.unit()
        assert run.execution.steps["after"].output == {"why": "model_error", "how": "failed"}

    async def test_an_error_in_the_output_fails_the_execution(self, types: Scripted) -> None:
        run = Run(plan_of(scripted("a"), has_output=True, output="{{ a.output.nothing }}"))
        assert (await run.unit()).kind == "failed"
        assert run.execution.status == "failed"
        assert run.execution.error is not None
        assert run.execution.error.code == "expression_error"

    async def test_an_output_of_null(self, types: Scripted) -> None:
        run = Run(plan_of(scripted("a"), has_output=True, output=None))
        assert (await run.unit()).kind == "done"
        assert run.execution.output is None


class TestHalting:
    async def test_a_failure_elsewhere_stops_this_unit(self, types: Scripted) -> None:
        plan = plan_of(
            scripted("bad"),
            scripted("a", next="b"),
            scripted("b"),
            units=(Unit(id="bad", steps=("bad",)), Unit(id="ab", steps=("a", "b"))),
        )
        run = Run(plan)
        types.gate("a")
        types.script["bad"] = fails()
        task = asyncio.create_task(run.unit("ab", owner="two"))
        await types.begun("a")
        assert (await run.unit("bad")).kind == "failed"
        # The other unit is at work, so it ends the execution.
        assert run.execution.status == "running"
        types.open("a")
        assert (await task).kind == "failed"
        assert run.statuses() == {"bad": "failed", "a": "success", "b": "cancelled"}
        assert run.execution.status == "failed"

    async def test_a_unit_that_begins_after_the_failure_starts_nothing(self, types: Scripted) -> None:
        plan = plan_of(
            scripted("bad"),
            scripted("slow"),
            scripted("late"),
            units=tuple(Unit(id=name, steps=(name,)) for name in ("bad", "slow", "late")),
        )
        run = Run(plan)
        types.gate("slow")
        types.script["bad"] = fails()
        slow = asyncio.create_task(run.unit("slow", owner="two"))
        await types.begun("slow")
        await run.unit("bad")
        assert (await run.unit("late", owner="three")).kind == "failed"
        assert "late" not in types.calls
        types.open("slow")
        await slow
        assert run.execution.status == "failed"


class TestLease:
    async def test_waits_while_another_holds_it(self, types: Scripted) -> None:
        run = Run(plan_of(scripted("a")))
        await run.store.lease("run", _request("other"))
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
        await run.store.lease("run", _request("thief"))
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
        await run.store.lease("run", _request("other", unit="segment.x"))

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


def _request(owner: str, *, unit: str = "all") -> LeaseRequest:
    return LeaseRequest(organization="test", workflow_id="flow", unit=unit, owner=owner, plan_digest="digest")


def _failing_first(call: Any, *, times: int, error: StoreError | None = None) -> Any:
    left = [times]

    async def wrapped(*args: Any) -> Any:
        if left[0] > 0:
            left[0] -= 1
            raise error or StoreError("away")
        return await call(*args)

    return wrapped
