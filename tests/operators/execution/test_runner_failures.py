"""The runner where steps fail: retry, time-outs, failures and halting."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from compiler.plan import Retry, Unit
from operators.execution.records import Journaling, WebhookAnswer
from operators.steps.base import StepFailedError, StepResult
from tests.operators.execution.plans import plan_of, step
from tests.operators.execution.runner_tools import (
    ImpatientClock,
    Run,
    Scripted,
    fails,
    scripted,
    settled,
)

pytestmark = pytest.mark.unit


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

    async def test_an_output_larger_than_may_be(self, types: Scripted) -> None:
        run = Run(plan_of(scripted("a")))
        types.script["a"] = lambda _: StepResult(["x" * 32_000_000, "y" * 32_000_000])
        assert (await run.unit()).failures == (("a", "output_too_large"),)

    async def test_an_answer_larger_than_the_journal_takes(self, types: Scripted) -> None:
        run = Run(plan_of(scripted("a")))
        answer = WebhookAnswer(body=["x" * 10_000_000])
        types.script["a"] = lambda _: StepResult("ok", answer=answer)
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
