"""Maps: order, concurrency, failures, replay after a crash, time-outs, halting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from compiler.plan import Edge, Plan, Step, Unit
from operators.execution.local import run_plan
from operators.execution.records import Journaling
from operators.execution.store import RejectedError, StaleLeaseError
from operators.execution.stubs import Stubs
from operators.steps.base import StepFailedError, StepKey, StepResult, StepServices
from operators.steps.registry import HANDLERS
from tests.operators.execution.plans import plan_of, step
from tests.operators.execution.runner_tools import Run, Scripted, scripted, settled

pytestmark = pytest.mark.unit


class ByItem(Scripted):
    """Knows its calls by their ids in the journal, such as ``m[0].a``."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: list[str] = []

    async def call(self, request: str, services: StepServices, key: StepKey) -> StepResult:
        self.keys.append(str(key))
        return await super().call(key.step_id, services, key)


@pytest.fixture
def types() -> Iterator[ByItem]:
    HANDLERS["scripted"] = handler = ByItem()
    try:
        yield handler
    finally:
        del HANDLERS["scripted"]


def mapped(step_id: str, *body: Step, over: str = "{{ input }}", **fields: Any) -> Step:
    """A map; ``concurrency``, ``on_item_error``, ``result`` and ``name`` (of the item) go into its config."""
    config = {
        "over": over,
        "as": fields.pop("name", "item"),
        "concurrency": fields.pop("concurrency", 10),
        "on_item_error": fields.pop("on_item_error", "fail"),
    }
    if "result" in fields:
        config["result"] = fields.pop("result")
    return step(step_id, type="map", config=config, body=body, **fields)


def fails(message: str = "no") -> Any:
    def script(attempt: int) -> StepResult:
        raise StepFailedError("model_error", message, retryable=True)

    return script


def text(step_id: str, template: str, **fields: Any) -> Step:
    return step(step_id, config={"set": {"x": template}}, **fields)


class TestItems:
    async def test_the_output_is_in_the_order_of_over(self, types: ByItem) -> None:
        run = Run(plan_of(mapped("m", scripted("a"), result="{{ item }}")), input=[3, 1, 2])
        types.gate("m[0].a")
        task = asyncio.create_task(run.unit())
        await types.begun("m[2].a")
        await settled()
        types.open("m[0].a")
        await task
        assert run.execution.output == {"m": [3, 1, 2]}

    async def test_without_result_an_item_yields_the_default_output(self, types: ByItem) -> None:
        run = Run(plan_of(mapped("m", scripted("a", next="b"), scripted("b"), scripted("c"))), input=[0])
        await run.unit()
        assert run.execution.output == {"m": [{"b": {"from": "m[0].b"}, "c": {"from": "m[0].c"}}]}

    @pytest.mark.parametrize("concurrency", [1, 3, 10])
    async def test_no_more_items_at_a_time_than_concurrency(self, types: ByItem, concurrency: int) -> None:
        run = Run(plan_of(mapped("m", scripted("a", next="b"), scripted("b"), concurrency=concurrency)), input=[0] * 6)
        names = [f"m[{index}].a" for index in range(6)]
        types.gate(*names)
        task = asyncio.create_task(run.unit())
        begun = []
        for index, name in enumerate(names):
            await types.begun(name)
            await settled()
            begun.append(sum(each in types.calls for each in names) - index)
            types.open(name)
        await task
        assert begun == [min(concurrency, 6 - index) for index in range(6)]

    async def test_inside_of_an_item_steps_are_as_parallel_as_the_edges_allow(self, types: ByItem) -> None:
        body = [scripted("a", next="c"), scripted("b", next="c"), scripted("c")]
        run = Run(plan_of(mapped("m", *body, concurrency=1)), input=[0])
        types.gate("m[0].a", "m[0].b")
        task = asyncio.create_task(run.unit())
        await types.begun("m[0].a")
        await types.begun("m[0].b")
        types.open("m[0].a")
        await settled()
        assert "m[0].c" not in types.calls
        types.open("m[0].b")
        await task
        assert types.calls["m[0].c"] == 1

    async def test_the_body_sees_outside_the_item_and_itself(self, types: ByItem) -> None:
        body = [
            text("a", "{{ before.output.x }}{{ input[0] }}{{ thing }}", next="b"),
            text("b", "{{ a.output.x }}{{ a.status }}{{ late.status }}", next="late"),
            text("late", "x"),
        ]
        plan = plan_of(
            text("before", "B", next="m"), mapped("m", *body, name="thing", result="{{ b.output.x + late.output.x }}")
        )
        run = Run(plan, input=["p", "q"])
        await run.unit()
        assert run.execution.output == {"m": ["Bppsuccesspendingx", "Bpqsuccesspendingx"]}

    async def test_an_inner_item_hides_the_outer_one_of_the_same_name(self, types: ByItem) -> None:
        inner = mapped("n", text("a", "{{ item }}"), over="{{ item }}", result="{{ a.output.x }}")
        run = Run(plan_of(mapped("m", inner, result="{{ [item, n.output] }}")), input=[[1], [2, 3]])
        await run.unit()
        assert run.execution.output == {"m": [[[1], [1]], [[2, 3], [2, 3]]]}
        assert run.execution.steps["m[1].n[0].a"].output == {"x": 2}

    async def test_the_idempotency_key_names_item_and_step(self, types: ByItem) -> None:
        run = Run(plan_of(mapped("m", scripted("a"), concurrency=1)), input=[0, 0])
        await run.unit()
        assert types.keys == ["run:0:m[0].a", "run:0:m[1].a"]

    @pytest.mark.parametrize(("count", "status"), [(1000, "success"), (1001, "failed")])
    async def test_at_most_a_thousand_items(self, types: ByItem, count: int, status: str) -> None:
        run = Run(plan_of(mapped("m", text("a", "{{ item }}"), on_error="continue")), input=[0] * count)
        await run.unit()
        record = run.execution.steps["m"]
        assert record.status == status
        assert (record.error is None) == (count == 1000)
        if record.error is not None:
            assert (record.error.code, "1,001" in record.error.message) == ("limit_exceeded", True)

    async def test_what_is_no_list_fails_the_map(self, types: ByItem) -> None:
        run = Run(plan_of(mapped("m", scripted("a"))), input={"a": 1})
        await run.unit()
        error = run.execution.steps["m"].error
        assert error is not None
        assert error.code == "invalid_config"
        assert "m[0].a" not in run.execution.steps

    async def test_three_thousand_steps_take_seconds_not_minutes(self, types: ByItem) -> None:
        body = [
            text("a", "{{ item }}", next="b"),
            text("b", "{{ a.output.x }}", next="c"),
            text("c", "{{ b.output.x }}"),
        ]
        began = time.monotonic()
        result = await run_plan(plan_of(mapped("m", *body, result="{{ c.output.x }}")), input=list(range(1000)))
        assert result.output == {"m": list(range(1000))}
        assert len(result.steps) == 3001
        # Far above what it takes (half a second), far below what anything quadratic would.
        assert time.monotonic() - began < 30


class TestFailures:
    async def test_fail_stops_new_items_and_lets_running_steps_finish(self, types: ByItem) -> None:
        plan = plan_of(mapped("m", scripted("a", next="b"), scripted("b"), concurrency=2, on_error="continue"))
        run = Run(plan, input=[0, 1, 2])
        types.gate("m[0].a", "m[1].a")
        types.script["m[1].a"] = fails("broken")
        task = asyncio.create_task(run.unit())
        await types.begun("m[0].a")
        await types.begun("m[1].a")
        types.open("m[1].a")
        await settled()
        types.open("m[0].a")
        await task
        assert {step_id: record.status for step_id, record in run.execution.steps.items()} == {
            "m": "failed",
            "m[0].a": "success",
            "m[0].b": "cancelled",
            "m[1].a": "failed",
            "m[1].b": "upstream_failed",
        }
        error = run.execution.steps["m"].error
        assert error is not None
        assert (error.code, error.message) == ("model_error", "step 'm[1].a' failed: broken")
        # The workflow handles it; that steps of the body were cancelled is the map's affair.
        assert run.execution.status == "success"

    async def test_an_unhandled_failure_of_a_map_fails_the_execution(self, types: ByItem) -> None:
        run = Run(plan_of(mapped("m", scripted("a"), next="b"), scripted("b")), input=[0])
        types.script["m[0].a"] = fails()
        assert (await run.unit()).kind == "failed"
        assert run.execution.status == "failed"
        assert run.execution.error is not None
        assert run.execution.error.message == "step 'm' failed: step 'm[0].a' failed: no"
        assert run.statuses() == {"m": "failed", "b": "upstream_failed"}

    async def test_of_several_failures_the_first_in_over_is_named(self, types: ByItem) -> None:
        run = Run(plan_of(mapped("m", scripted("a"), on_error="continue")), input=[0, 1])
        types.gate("m[0].a")
        types.script |= {"m[0].a": fails("zero"), "m[1].a": fails("one")}
        task = asyncio.create_task(run.unit())
        await types.begun("m[1].a")
        await settled()
        types.open("m[0].a")
        await task
        assert run.execution.steps["m"].error is not None
        assert "'m[0].a' failed: zero" in run.execution.steps["m"].error.message

    async def test_continue_gives_null_and_goes_on(self, types: ByItem) -> None:
        run = Run(plan_of(mapped("m", scripted("a"), on_item_error="continue", result="{{ item }}")), input=[1, 2, 3])
        types.script["m[1].a"] = fails()
        await run.unit()
        assert run.execution.output == {"m": [1, None, 3]}
        assert run.execution.status == "success"

    async def test_a_failure_that_the_body_handles_is_none_of_the_item(self, types: ByItem) -> None:
        body = [scripted("a", next="b", on_error="continue"), scripted("b")]
        run = Run(plan_of(mapped("m", *body, result="{{ a.error.code }}")), input=[0])
        types.script["m[0].a"] = fails()
        await run.unit()
        assert run.execution.output == {"m": ["model_error"]}

    async def test_a_result_that_fails_fails_its_item(self, types: ByItem) -> None:
        run = Run(plan_of(mapped("m", scripted("a"), result="{{ item.x }}", on_error="continue")), input=[{}])
        await run.unit()
        error = run.execution.steps["m"].error
        assert error is not None
        assert error.code == "expression_error"
        assert "`result` of m[0]" in error.message

    async def test_a_body_that_skips_everything(self, types: ByItem) -> None:
        branch = Edge(target="b", kind="then")
        body = [Step(id="a", type="scripted", config={}, edges=(branch,)), scripted("b")]
        run = Run(plan_of(mapped("m", *body)), input=[0])
        types.script["m[0].a"] = lambda attempt: StepResult({"branch": None})
        await run.unit()
        assert run.execution.output == {"m": [{}]}
        assert run.execution.steps["m[0].b"].status == "skipped"


class TestTimeout:
    async def test_it_bounds_the_whole_map(self, types: ByItem) -> None:
        body = [scripted("a", next="b"), scripted("b")]
        inner = mapped("n", scripted("deep"), over="{{ [1] }}")
        plan = plan_of(mapped("m", *body, inner, concurrency=1, timeout_seconds=0.05, on_error="continue"))
        run = Run(plan, input=[0, 1])
        types.gate("m[0].a", "m[0].n[0].deep")
        assert (await run.unit()).kind == "done"
        assert {step_id: record.status for step_id, record in run.execution.steps.items()} == {
            "m": "failed",
            "m[0].a": "cancelled",
            "m[0].b": "cancelled",
            "m[0].n": "cancelled",
            "m[0].n[0].deep": "cancelled",
        }
        error = run.execution.steps["m"].error
        assert error is not None
        assert (error.code, error.message) == ("timeout", "the map took longer than 0.05 s")

    async def test_that_of_the_workflow_cuts_bodies_off(self, types: ByItem) -> None:
        run = Run(plan_of(mapped("m", scripted("a")), timeout_seconds=0.05), input=[0])
        types.gate("m[0].a")
        assert (await run.unit()).kind == "failed"
        assert {step_id: record.status for step_id, record in run.execution.steps.items()} == {
            "m": "cancelled",
            "m[0].a": "cancelled",
        }
        assert run.execution.error is not None
        assert run.execution.error.code == "workflow_timeout"


class TestHalting:
    async def test_a_failure_elsewhere_stops_items_and_steps(self, types: ByItem) -> None:
        plan = plan_of(
            scripted("bad"), mapped("m", scripted("a", next="b"), scripted("b"), concurrency=1, next="c"), scripted("c")
        )
        run = Run(plan, input=[0, 1])
        types.gate("bad", "m[0].a")
        types.script["bad"] = fails()
        task = asyncio.create_task(run.unit())
        await types.begun("m[0].a")
        types.open("bad")
        await settled()
        types.open("m[0].a")
        assert (await task).kind == "failed"
        assert {step_id: record.status for step_id, record in run.execution.steps.items()} == {
            "bad": "failed",
            "m": "cancelled",
            "m[0].a": "success",
            "m[0].b": "cancelled",
            "c": "cancelled",
        }

    async def test_the_last_steps_of_the_last_items_still_make_it_a_success(self, types: ByItem) -> None:
        run = Run(plan_of(scripted("bad"), mapped("m", scripted("a"))), input=[0])
        types.gate("bad", "m[0].a")
        types.script["bad"] = fails()
        task = asyncio.create_task(run.unit())
        await types.begun("m[0].a")
        types.open("bad")
        await settled()
        types.open("m[0].a")
        await task
        assert run.statuses() == {"bad": "failed", "m": "success"}


class TestReplay:
    def plan(self, **fields: Any) -> Plan:
        return plan_of(mapped("m", scripted("a", next="b"), scripted("b"), concurrency=1, **fields))

    async def crash(self, run: Run, types: ByItem, step_id: str) -> None:
        """Lose the worker while a step is called."""
        types.gate(step_id)
        task = asyncio.create_task(run.unit())
        await types.begun(step_id)
        run.clock.seconds += 100
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        types.open(step_id)

    async def test_after_a_crash_no_journaled_step_is_called_again(self, types: ByItem) -> None:
        run = Run(self.plan(result="{{ b.output }}"), input=[0, 1, 2])
        await self.crash(run, types, "m[1].b")
        assert (await run.unit(owner="two")).kind == "done"
        assert types.calls == {"m[0].a": 1, "m[0].b": 1, "m[1].a": 1, "m[1].b": 2, "m[2].a": 1, "m[2].b": 1}
        assert run.execution.output == {"m": [{"from": f"m[{index}].b"} for index in range(3)]}

    async def test_in_nested_maps(self, types: ByItem) -> None:
        inner = mapped("n", scripted("a"), over="{{ row }}", concurrency=1)
        run = Run(plan_of(mapped("m", inner, name="row", concurrency=1)), input=[[0, 0], [0, 0]])
        await self.crash(run, types, "m[1].n[1].a")
        assert (await run.unit(owner="two")).kind == "done"
        assert types.calls == {"m[0].n[0].a": 1, "m[0].n[1].a": 1, "m[1].n[0].a": 1, "m[1].n[1].a": 2}

    async def test_a_journaled_failure_still_stops_the_map(self, types: ByItem) -> None:
        run = Run(plan_of(mapped("m", scripted("a", next="b"), scripted("b"), concurrency=2)), input=[0, 1])
        types.gate("m[0].a")
        types.script["m[1].a"] = fails()
        task = asyncio.create_task(run.unit())
        await types.begun("m[1].a")
        await settled()
        run.clock.seconds += 100
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await run.unit(owner="two")).kind == "failed"
        assert types.calls == {"m[0].a": 1, "m[1].a": 1}
        assert run.execution.steps["m"].error is not None
        assert "'m[1].a'" in run.execution.steps["m"].error.message

    async def test_a_step_is_journaled_before_its_successors_start(self, types: ByItem) -> None:
        run = Run(self.plan(), input=[0])
        gate = asyncio.Event()
        journal = run.store.journal

        async def slow(execution_id: str, entry: Journaling) -> Any:
            if [record.id for record in entry.steps] == ["m[0].a"]:
                await gate.wait()
            return await journal(execution_id, entry)

        run.store.journal = slow  # type: ignore[method-assign]
        task = asyncio.create_task(run.unit())
        await types.begun("m[0].a")
        await settled()
        assert "m[0].b" not in types.calls
        gate.set()
        await task
        assert types.calls["m[0].b"] == 1

    @pytest.mark.parametrize("error", [StaleLeaseError("gone"), RejectedError("no")])
    async def test_a_store_that_refuses_is_no_failure_of_a_step(self, types: ByItem, error: Exception) -> None:
        run = Run(self.plan(), input=[0])

        async def refuses(execution_id: str, entry: Journaling) -> Any:
            if entry.steps:
                raise error
            return await type(run.store).journal(run.store, execution_id, entry)

        run.store.journal = refuses  # type: ignore[method-assign]
        with pytest.raises(type(error)):
            await run.unit()
        assert "m[0].b" not in types.calls

    async def test_reopened_only_what_failed_runs_again(self, types: ByItem) -> None:
        run = Run(self.plan(), input=[0, 1, 2])
        types.script["m[1].a"] = fails()
        assert (await run.unit()).kind == "failed"
        del types.script["m[1].a"]
        assert (await run.unit(owner="two", clear_number=1)).kind == "done"
        assert types.calls == {"m[0].a": 1, "m[0].b": 1, "m[1].a": 2, "m[1].b": 1, "m[2].a": 1, "m[2].b": 1}
        assert run.execution.status == "success"

    async def test_reopened_a_map_behind_a_failure_runs_anew(self, types: ByItem) -> None:
        plan = plan_of(
            scripted("first", next="m", on_error="continue"), mapped("m", scripted("a"), next="bad"), scripted("bad")
        )
        run = Run(plan, input=[0])
        types.script |= {"first": fails(), "bad": fails()}
        await run.unit()
        types.script.clear()
        await run.unit(owner="two", clear_number=1)
        assert types.calls == {"first": 2, "m[0].a": 2, "bad": 2}


class TestStubs:
    FLOW = plan_of(mapped("m", scripted("a"), concurrency=1, result="{{ a.output }}"))

    async def test_by_the_task_or_for_one_item(self, types: ByItem) -> None:
        result = await run_plan(self.FLOW, input=[0, 1], stubs=Stubs({"a": "all", "m[1].a": "one"}))
        assert result.output == {"m": ["all", "one"]}

    async def test_each_item_uses_up_a_list_by_itself(self, types: ByItem) -> None:
        plan = plan_of(mapped("m", scripted("a", retry={"attempts": 2}), result="{{ a.output }}"))
        result = await run_plan(plan, input=[0, 1], stubs=Stubs({"a": [{"error": "first"}, "second"]}))
        assert result.output == {"m": ["second", "second"]}

    async def test_of_the_map_itself(self) -> None:
        result = await run_plan(self.FLOW, input=[0, 1], stubs=Stubs({"m": ["as it is"], "a": 1}))
        assert result.output == {"m": "as it is"}
        assert list(result.steps) == ["m"]


async def test_local_runs_show_bodies_after_their_map() -> None:
    inner = mapped("n", text("a", "{{ item }}"), over="{{ item }}")
    plan = plan_of(
        mapped("m", inner, text("b", "x"), next="end"),
        text("end", "x"),
        units=(Unit(id="m", steps=("m",)), Unit(id="end", steps=("end",), upstream=("m",))),
    )
    result = await run_plan(plan, input=[[1], [2, 3]])
    assert list(result.steps) == [
        "m", "m[0].n", "m[0].n[0].a", "m[0].b", "m[1].n", "m[1].n[0].a", "m[1].n[1].a", "m[1].b", "end",
    ]  # fmt: skip
