"""What a run may cost, told before it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from compiler import compile_workflow
from operators.ai.estimate import MAX_PATHS, Estimate, estimate

pytestmark = pytest.mark.unit


def estimated(*tasks: dict[str, Any]) -> Estimate:
    document = {"id": "w", "name": "W", "version": "1", "trigger": {"type": "manual"}, "tasks": list(tasks)}
    compilation = compile_workflow(json.dumps(document), organization="o")
    assert compilation.plan is not None, compilation.diagnostics
    return estimate(compilation.plan)


def ask(name: str, **more: Any) -> dict[str, Any]:
    config = {"model": "gpt-4", "prompt": "x" * 400, "max_tokens": 1_000} | more.pop("config", {})
    return {"id": name, "type": "ai_inference", "config": config} | more


def choose(name: str, *targets: str, default: str | None = None) -> dict[str, Any]:
    config: dict[str, Any] = {"conditions": [{"if": "{{ input.x }}", "then": target} for target in targets]}
    return {"id": name, "type": "conditional", "config": config | ({"default": default} if default else {})}


def test_a_known_price() -> None:
    result = estimated(ask("a", retry={"attempts": 3}))
    [call], [path] = result.calls, result.paths
    assert (call.prompt_tokens, call.max_tokens, call.attempts) == (100, 1_000, 3)
    # $30 and $60 a million tokens.
    assert call.usd == path.usd == pytest.approx(100 * 30e-6 + 1_000 * 60e-6)
    assert (path.model_calls, path.decisions) == (1, {})


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"model": "openai:my-own-model"}, "no price"),
        ({"model": "test"}, "no price"),
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": "{{ input.most }}"}, "max_tokens"),
        ({"model": "{{ input.model }}"}, "expression"),
    ],
)
def test_what_is_not_known_is_unknown_and_never_0(config: dict[str, Any], reason: str) -> None:
    result = estimated(ask("a", config=config))
    [call], [path] = result.calls, result.paths
    assert call.usd == path.usd == "unknown"
    assert reason in str(call.reason)
    assert "'a'" in str(path.reason)


def test_a_path_for_each_decision() -> None:
    result = estimated(choose("c", "cheap", default="dear"), ask("cheap"), ask("dear", next=["more"]), ask("more"))
    assert [(path.decisions, path.model_calls) for path in result.paths] == [
        ({"c": "cheap"}, 1),
        ({"c": "dear"}, 2),
    ]


def test_no_branch_is_a_path_too() -> None:
    result = estimated(choose("c", "a"), ask("a"))
    assert [(path.decisions, path.model_calls, path.usd == 0) for path in result.paths] == [
        ({"c": "a"}, 1, False),
        ({"c": None}, 0, True),
    ]


def test_maps_and_other_workflows_are_unknown() -> None:
    body = {"over": "{{ input.items }}", "tasks": [ask("inner")]}
    mapped = estimated({"id": "m", "type": "map", "config": body})
    called = estimated({"id": "s", "type": "workflow", "config": {"workflow": "other", "input": {}}})
    for result in (mapped, called):
        [path] = result.paths
        assert (path.model_calls, path.usd) == ("unknown", "unknown")
    assert [call.step_id for call in mapped.calls] == ["inner"]


def test_many_paths_are_cut_short() -> None:
    tasks = []
    for number in range(10):
        following = [f"c{number + 1}"] if number < 9 else []
        end = {"id": f"a{number}", "type": "transform", "config": {"set": {}}}
        tasks += [choose(f"c{number}", f"a{number}") | {"next": following}, end]
    result = estimated(*tasks)
    assert (len(result.paths), result.truncated) == (MAX_PATHS, True)
