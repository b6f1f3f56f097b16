"""Workflows that call workflows, in one process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from compiler.plan import Plan, Retry, Step
from operators.execution.local import LocalResult, run_plan
from operators.execution.stubs import Stubs
from tests.operators.execution.plans import model_step, plan_of, step

pytestmark = pytest.mark.unit


def call(
    workflow: str, step_id: str = "call", *, input: Any = None, wait: bool = True, version: Any = None, **fields: Any
) -> Step:
    config = {"workflow": workflow, "version": version, "input": {} if input is None else input, "wait": wait}
    return step(step_id, type="workflow", config=config, **fields)


def child(*steps: Step, workflow_id: str = "child", **fields: Any) -> Plan:
    return plan_of(*steps, **fields).model_copy(update={"workflow_id": workflow_id})


async def run(plan: Plan, *others: Plan, stubs: Any = None, input: Any = None) -> LocalResult:
    found = {other.workflow_id: other for other in others}
    running = run_plan(plan, input=input, find_workflow=found.get, stubs=Stubs(stubs))
    return await asyncio.wait_for(running, 30)


DOUBLE = child(
    step("twice", config={"set": {"n": "{{ input.n * 2 }}"}}), has_output=True, output={"n": "{{ twice.output.n }}"}
)


async def test_the_childs_output_is_the_steps() -> None:
    after = step("after", config={"set": {"n": "{{ call.output.n }}"}})
    calling = call("child", input={"n": "{{ input.n }}"}, next="after")
    result = await run(plan_of(calling, after), DOUBLE, input={"n": 21})
    assert (result.status, result.output) == ("success", {"after": {"n": 42}})
    assert result.steps["call"].output == {"n": 42}


async def test_what_the_child_sees() -> None:
    seen = child(step("look", config={"set": {"trigger": "{{ trigger }}", "workflow": "{{ execution.workflow_id }}"}}))
    result = await run(plan_of(call("child")), seen)
    look = result.steps["call"].output["look"]  # type: ignore[index,call-overload]
    assert look == {
        "trigger": {"type": "workflow", "method": None, "path": None, "headers": {}, "query": {}},
        "workflow": "child",
    }


async def test_a_child_that_fails_fails_the_step() -> None:
    bad = child(step("bad", config={"set": {"x": "{{ input.no }}"}}))
    result = await run(plan_of(call("child")), bad)
    error = result.steps["call"].error
    assert error is not None
    assert (error.code, result.status) == ("child_failed", "failed")
    assert error.message.startswith("workflow 'child' failed: step 'bad' failed: ")


async def test_each_attempt_has_a_child_of_its_own() -> None:
    flaky = child(model_step("ask", next="done"), step("done", config={"set": {"said": "{{ ask.output.text }}"}}))
    plan = plan_of(call("child", retry=Retry(attempts=3, backoff_seconds=0)))
    result = await run(plan, flaky, stubs={"child.ask": [{"error": "one"}, {"error": "two"}, {"text": "three"}]})
    # A child's stubs begin anew with each child, so each of them fails like the first.
    assert (result.status, result.steps["call"].attempts) == ("failed", 3)


async def test_stubs_of_the_childs_steps() -> None:
    asking = child(model_step("ask"))
    result = await run(plan_of(call("child")), asking, stubs={"child.ask": {"text": "stubbed"}})
    assert result.steps["call"].output == {"ask": {"text": "stubbed"}}


async def test_a_stub_of_the_call_calls_nobody() -> None:
    result = await run(plan_of(call("no_such")), stubs={"call": {"n": 1}})
    assert result.steps["call"].output == {"n": 1}


@pytest.mark.parametrize(
    ("plan", "others", "code"),
    [
        (plan_of(call("no_such")), (), "unknown_workflow"),
        (plan_of(call("child")), (child(step("a"), input_schema={"required": ["n"]}),), "invalid_input"),
        (plan_of(call("flow")), (plan_of(call("flow")),), "child_failed"),
    ],
)
async def test_what_cannot_be_called(plan: Plan, others: tuple[Plan, ...], code: str) -> None:
    result = await run(plan, *others)
    assert result.steps["call"].error is not None
    assert result.steps["call"].error.code == code


@pytest.mark.parametrize(("version", "label"), [("1.0", "1.0"), (2, "2"), ("2", "2")])
async def test_a_version_of_this_label_is_called(version: Any, label: str) -> None:
    result = await run(plan_of(call("child", version=version)), child(step("a")).model_copy(update={"label": label}))
    assert result.status == "success"


@pytest.mark.parametrize("version", ["1.1", 1])
async def test_a_version_of_another_label_is_not(version: Any) -> None:
    error = (await run(plan_of(call("child", version=version)), child(step("a")))).steps["call"].error
    assert error is not None
    assert error.code == "unknown_version"
    assert repr(version) in error.message
    assert "label '1.0'" in error.message


async def test_a_workflow_may_call_itself_only_so_often() -> None:
    counting = child(
        step(
            "more",
            type="conditional",
            config={"conditions": [{"if": "{{ input.n > 0 }}", "then": "call"}]},
            then="call",
        ),
        call("child", input={"n": "{{ input.n - 1 }}"}),
        has_output=True,
        output="{{ 1 + (call.output | default(0, true)) }}",
    )
    assert (await run(counting, counting, input={"n": 3})).output == 4
    assert (await run(counting, counting, input={"n": 4})).status == "failed"


async def test_a_chain_of_calls_has_a_limit() -> None:
    chain = [child(call(f"w{number + 1}"), workflow_id=f"w{number}") for number in range(18)]
    result = await run(chain[0], *chain[1:], child(step("end"), workflow_id="w18"))
    assert result.error is not None
    assert "workflows may call one another 16 deep" in result.error.message
    shorter = await run(chain[2], *chain[3:], child(step("end"), workflow_id="w18"))
    assert shorter.status == "success"


async def test_not_waited_for() -> None:
    slow = child(step("pause", type="wait", config={"seconds": 0.05}))
    result = await run(plan_of(call("child", wait=False)), slow)
    assert result.status == "success"
    assert set(result.steps["call"].output) == {"execution_id"}  # type: ignore[arg-type]


async def test_longer_than_the_steps_time_out() -> None:
    slow = child(step("pause", type="wait", config={"seconds": 3600}))
    result = await run(plan_of(call("child", timeout_seconds=0.05)), slow)
    assert result.steps["call"].error is not None
    assert result.steps["call"].error.code == "timeout"


async def test_a_failure_beside_it_takes_the_child_along() -> None:
    slow = child(step("pause", type="wait", config={"seconds": 3600}))
    bad = step("bad", config={"set": {"x": "{{ input.no }}"}})
    result = await run(plan_of(call("child"), bad), slow, input={})
    assert (result.steps["call"].status, result.steps["bad"].status) == ("cancelled", "failed")


async def test_the_workflows_time_out_takes_the_child_along() -> None:
    slow = child(step("pause", type="wait", config={"seconds": 3600}))
    result = await run(plan_of(call("child"), timeout_seconds=0.2), slow)
    assert result.error is not None
    assert result.error.code == "workflow_timeout"
