"""One step of a plan by itself, and what an observer of a local run hears."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import JsonValue

from compiler.plan import Plan
from operators.execution.local import run_plan, run_step
from operators.execution.records import StepRecord
from operators.execution.stubs import Stubs
from operators.steps.base import StepKey
from tests.operators.execution.plans import plan_of, step

pytestmark = pytest.mark.unit

LINE = plan_of(
    step("a", config={"set": {"n": "{{ input.n }}"}}, next="b"),
    step("b", config={"set": {"n": "{{ a.output.n + 1 }}"}}, next="c"),
    step("c", config={"set": {"n": "{{ b.output.n + 1 }}"}}),
)


async def one(plan: Plan, step_id: str, *, input: JsonValue = None, **outputs: JsonValue) -> StepRecord:
    return await asyncio.wait_for(run_step(plan, step_id, outputs=outputs, input=input), 30)


async def test_one_step_reads_the_outputs_it_is_given() -> None:
    record = await one(LINE, "b", a={"n": 41})
    assert (record.id, record.status, record.output) == ("b", "success", {"n": 42})


async def test_outputs_of_the_step_itself_and_of_those_after_it_change_nothing() -> None:
    record = await one(LINE, "b", a={"n": 1}, b={"n": 7}, c={"n": 8})
    assert record.output == {"n": 2}


async def test_what_was_not_given_is_undefined() -> None:
    record = await one(LINE, "b")
    assert record.error is not None
    assert (record.status, "a" in record.error.message) == ("failed", True)


async def test_the_input_is_not_checked_for_one_step() -> None:
    plan = LINE.model_copy(update={"input_schema": {"type": "object", "required": ["other"]}})
    assert (await one(plan, "a", input={"n": 1})).output == {"n": 1}


async def test_an_observer_hears_each_final_record_as_it_comes() -> None:
    heard: list[tuple[str, str]] = []
    running = run_plan(
        LINE,
        input={"n": 1},
        stubs=Stubs({"b": {"n": 5}}),
        observer=lambda record: heard.append((record.id, record.status)),
    )
    result = await asyncio.wait_for(running, 30)
    assert heard == [("a", "success"), ("b", "success"), ("c", "success")]
    assert result.output == {"c": {"n": 6}}


async def test_events_go_to_whoever_hears_them() -> None:
    raised: list[Any] = []

    async def emit(key: StepKey, event_type: str, data: JsonValue) -> str:
        raised.append((key.step_id, event_type, data))
        return "the-id"

    tell = step("tell", type="emit_event", config={"type": "made", "data": {"n": 1}})
    result = await asyncio.wait_for(run_plan(plan_of(tell), input=None, emit=emit), 30)
    assert result.status == "success"
    assert raised == [("tell", "made", {"n": 1})]
