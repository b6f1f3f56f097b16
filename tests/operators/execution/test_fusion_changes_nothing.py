"""Random workflows give the same outputs and statuses fused and unfused.

Left out are those whose result depends on time: unhandled failures beside other branches, and ``any`` joins that read.
"""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler import compile_workflow
from operators.execution.local import LocalResult, run_plan
from operators.execution.stubs import Stubs

pytestmark = pytest.mark.unit


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """A workflow of up to nine tasks and its stubs."""
    count = draw(st.integers(1, 9))
    tasks: list[dict[str, Any]] = []
    stubs: dict[str, Any] = {}
    readers: dict[str, list[str]] = {}
    for index in range(count):
        task_id = f"t{index}"
        later = [f"t{other}" for other in range(index + 1, count)]
        targets = draw(st.lists(st.sampled_from(later), unique=True, max_size=3)) if later else []
        task: dict[str, Any] = {"id": task_id}
        if targets and draw(st.booleans()):
            chosen = draw(st.sampled_from([*targets, None]))
            task |= {
                "type": "conditional",
                "config": {"conditions": [{"if": "{{ false }}", "then": target} for target in targets]},
            }
            stubs[task_id] = {"branch": chosen}
        else:
            task |= {"type": "ai_inference", "config": {"model": "gpt-4", "prompt": "x"}, "next": targets}
            stubs[task_id] = {"text": task_id}
            failing = draw(st.booleans())
            goto = draw(st.booleans()) and len(targets) > 1
            if failing:
                stubs[task_id] = [{"error": "stubbed"}]
                task["on_error"] = "continue"
            if goto:
                task["on_error"] = {"goto": targets[-1]}
                task["next"] = targets[:-1]
        task["join"] = draw(st.sampled_from(["all", "any"]))
        for target in targets:
            readers.setdefault(target, []).append(task_id)
        tasks.append(task)
    for task in tasks:
        if task["type"] == "ai_inference" and task["join"] == "all":
            seen = " ".join(f"{{{{ {source}.status }}}}" for source in readers.get(task["id"], []))
            task["config"]["prompt"] = f"after {seen}"
    flow = {
        "id": "random",
        "name": "Random",
        "version": "1.0",
        "trigger": {"type": "manual", "config": {}},
        "tasks": tasks,
    }
    return flow, stubs


async def run(flow: dict[str, Any], stubs: dict[str, Any], fusion: Any) -> LocalResult:
    compilation = compile_workflow(orjson.dumps(flow), organization="test", fusion=fusion)
    assert compilation.plan is not None, compilation.diagnostics
    if fusion == "off":
        assert len(compilation.plan.units) == len(compilation.plan.steps)
    return await run_plan(compilation.plan, input={}, stubs=Stubs(stubs))


@settings(deadline=None)
@given(cases())
async def test_same_result(case: tuple[dict[str, Any], dict[str, Any]]) -> None:
    fused, unfused = await run(*case, "auto"), await run(*case, "off")
    assert fused.status == unfused.status == "success"
    assert fused.output == unfused.output
    for step_id, record in fused.steps.items():
        other = unfused.steps[step_id]
        assert (record.status, record.output, record.error) == (other.status, other.output, other.error)
