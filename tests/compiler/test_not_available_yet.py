"""Stage resolve: what the format has and this version does not run."""

from __future__ import annotations

from typing import Any

import pytest

from compiler import validate_workflow
from tests.compiler.building import as_bytes, codes, model, problems, transform, warnings_of, workflow

pytestmark = pytest.mark.unit


def with_config(kind: str, config: dict[str, Any], **extra: Any) -> dict[str, Any]:
    return workflow({"id": "a", "type": kind, "config": config, **extra})


def with_trigger(kind: str, config: dict[str, Any] | None = None) -> dict[str, Any]:
    return workflow(transform("a"), trigger={"type": kind, "config": config or {}})


UNAVAILABLE_TYPES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("agent", {"model": "m", "instructions": "i", "prompt": "p", "tools": [{"integration": "i", "action": "a"}]}, {}),
    ("integration", {"integration": "crm", "action": "find", "input": {}}, {}),
    ("retrieve", {"collection": "docs", "query": "{{ input.q }}", "top_k": 3}, {}),
]


@pytest.mark.parametrize(("kind", "config", "extra"), UNAVAILABLE_TYPES)
def test_unavailable_types(kind: str, config: dict[str, Any], extra: dict[str, Any]) -> None:
    source = workflow({"id": "a", "type": kind, "config": config, **extra}, transform("b"))
    assert codes(source) == [("unavailable_type", "/tasks/0/type")]
    assert warnings_of(source) == [("unavailable_type", "/tasks/0/type")]


def test_what_is_unavailable_stops_compilation_but_not_validation() -> None:
    source = workflow({"id": "a", "type": "retrieve", "config": {"collection": "docs", "query": "q"}})
    assert [diagnostic.severity for diagnostic in problems(source)] == ["error"]
    assert [diagnostic.severity for diagnostic in validate_workflow(as_bytes(source))] == ["warning"]


@pytest.mark.parametrize(
    ("kind", "config", "expected"),
    [
        ("agent", {"model": "m", "prompt": "p", "tools": []}, ("missing_field", "/tasks/0/config")),
        (
            "agent",
            {"model": "m", "instructions": "i", "prompt": "p", "tools": [{}]},
            ("missing_field", "/tasks/0/config/tools/0"),
        ),
        ("wait", {}, ("missing_field", "/tasks/0/config")),
        ("wait", {"seconds": 1, "until": "{{ input.t }}"}, ("invalid_config", "/tasks/0/config")),
        ("wait", {"until": "tomorrow"}, ("invalid_config", "/tasks/0/config/until")),
        ("wait", {"until": "{{ 'tomorrow' }}"}, ("invalid_config", "/tasks/0/config/until")),
        ("wait", {"until": "{{ [] | first }}"}, ("invalid_config", "/tasks/0/config/until")),
        ("approval", {"title": "t", "timeout": "x"}, ("invalid_field", "/tasks/0/config/timeout")),
        ("approval", {"title": "t", "routes": {"approve": "b"}}, ("unknown_task", "/tasks/0/config/routes/approve")),
        ("code", {"language": "perl"}, ("invalid_field", "/tasks/0/config/language")),
        ("workflow", {"workflow": "Other", "input": {}}, ("unsafe_identifier", "/tasks/0/config/workflow")),
        ("map", {"over": "list", "tasks": [transform("b")]}, ("invalid_config", "/tasks/0/config/over")),
        ("map", {"over": "{{ input }}", "tasks": []}, ("invalid_field", "/tasks/0/config/tasks")),
        (
            "map",
            {"over": "{{ input }}", "as": "input", "tasks": [transform("b")]},
            ("unsafe_identifier", "/tasks/0/config/as"),
        ),
        (
            "map",
            {"over": "{{ input }}", "result": "x", "tasks": [transform("b")]},
            ("invalid_config", "/tasks/0/config/result"),
        ),
    ],
)
def test_shapes_of_unavailable_types(kind: str, config: dict[str, Any], expected: tuple[str, str]) -> None:
    assert expected in codes(with_config(kind, config))


@pytest.mark.parametrize(
    ("source", "path"),
    [
        (workflow(model("a", cache={"ttl_seconds": 60})), "/tasks/0/cache"),
        (
            workflow({"id": "a", "type": "ai_inference", "config": {"route": "cheap", "prompt": "x"}}),
            "/tasks/0/config/route",
        ),
        (workflow(transform("a"), settings={"budget_usd": 1}), "/settings/budget_usd"),
    ],
)
def test_unavailable_features(source: dict[str, Any], path: str) -> None:
    assert codes(source) == [("unavailable_feature", path)]
    assert warnings_of(source) == [("unavailable_feature", path)]


def test_a_container_needs_kubernetes() -> None:
    source = with_config("container", {}, runtime_image="alpine")
    assert codes(source) == warnings_of(source) == [("needs_kubernetes", "/tasks/0/type")]
    assert [diagnostic.severity for diagnostic in validate_workflow(as_bytes(source))] == ["warning"]
