"""The corpus of workflows: what it must cover, and that it compiles. Who runs it compares the results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compiler import compile_workflow
from compiler.plan import every_step
from compiler.steps import STEP_TYPES
from compiler.triggers import TRIGGER_TYPES
from operators.execution.bodies import task_id
from tests.compiler.building import plan_of

pytestmark = pytest.mark.unit

FILES = sorted((Path(__file__).parents[1] / "workflows").glob("*.json"))


def case(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
@pytest.mark.parametrize("fusion", ["auto", "off"])
def test_it_compiles(path: Path, fusion: Any) -> None:
    loaded = case(path)
    # `others` are workflows that this one's steps call.
    assert set(loaded) - {"others"} == {"workflow", "input", "vars", "stubs", "expect"}
    for other in loaded.get("others", []):
        assert compile_workflow(json.dumps(other), organization="acme", fusion=fusion).plan is not None
    assert loaded["workflow"]["id"] == path.stem
    result = compile_workflow(json.dumps(loaded["workflow"]), organization="acme", fusion=fusion)
    assert result.plan is not None, result.diagnostics
    everyone = list(every_step(result.plan.steps))
    ids = {step.id for step in everyone}
    stubbed = {task_id(name) for name in loaded["stubs"]}
    assert stubbed <= ids
    assert {task_id(name) for name in loaded["expect"].get("steps", {})} <= ids
    assert [diagnostic.code for diagnostic in result.diagnostics] == (
        ["no_default_branch"] if path.stem == "no_branch_taken" else []
    )
    # Every call has a stub: the corpus runs where there is no model and no network.
    calls = {step.id for step in everyone if step.type in ("ai_inference", "http_request")}
    assert calls <= stubbed


def test_it_covers_the_format() -> None:
    plans = [plan_of(case(path)["workflow"]) for path in FILES]
    steps = [step for plan in plans for step in every_step(plan.steps)]
    # A type or a trigger that becomes available must come into the corpus.
    in_process = {name for name, kind in STEP_TYPES.items() if kind.available} - {"container"}
    assert {step.type for step in steps} == in_process
    assert {trigger.type for plan in plans for trigger in plan.triggers} == {
        name for name, kind in TRIGGER_TYPES.items() if kind.available
    }
    assert {step.join for step in steps} == {"all", "any"}
    assert {step.on_error for step in steps} == {"fail", "continue", "goto"}
    assert {edge.kind for step in steps for edge in step.edges} == {
        "next", "then", "default", "approve", "reject", "goto",
    }  # fmt: skip
    assert any(step.retry.attempts > 1 for step in steps)
    assert any("jsonpath" in step.config for step in steps)
    assert any(step.config.get("schema_inferred") for step in steps)
    assert {case(path)["expect"]["status"] for path in FILES} == {"success", "failed"}
    assert any(step.timeout_seconds for step in steps)
    assert any(len(plan.triggers) > 1 for plan in plans)
    assert any(plan.vars for plan in plans)
    assert any(len(plan.steps) >= 15 for plan in plans)
    assert len(FILES) >= 70
