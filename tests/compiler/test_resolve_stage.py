"""Stage resolve: shapes, types, triggers, identifiers; every problem of a file is reported."""

from __future__ import annotations

from typing import Any

import pytest

from compiler.fields import RESERVED_IDS
from tests.compiler.building import choice, codes, model, plan_of, problems, transform, workflow

pytestmark = pytest.mark.unit


def with_config(kind: str, config: dict[str, Any], **extra: Any) -> dict[str, Any]:
    return workflow({"id": "a", "type": kind, "config": config, **extra})


def test_empty_object_lists_all_that_is_missing() -> None:
    found = problems({})
    assert {diagnostic.code for diagnostic in found} == {"missing_field"}
    assert {diagnostic.path for diagnostic in found} == {""}
    text = " ".join(diagnostic.message for diagnostic in found)
    for key in ("'id'", "'name'", "'version'", "'tasks'", "`trigger`"):
        assert key in text


def test_unknown_fields_are_errors_with_a_suggestion() -> None:
    source = workflow(transform("a", nxt=[]), setings={})
    found = {diagnostic.path: diagnostic for diagnostic in problems(source)}
    assert found["/setings"].code == "unknown_field"
    assert found["/setings"].suggestion == "settings"
    assert found["/tasks/0/nxt"].suggestion == "next"
    assert found["/tasks/0/nxt"].task_id == "a"
    assert "Did you mean 'next'?" in found["/tasks/0/nxt"].message


def test_a_field_that_is_there_is_no_suggestion() -> None:
    (found,) = problems(workflow(transform("a", next=[], nexts=[])))
    assert (found.code, found.suggestion) == ("unknown_field", None)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (workflow(transform("a"), name=3), ("invalid_field", "/name")),
        (workflow(transform("a"), version=1.0), ("invalid_field", "/version")),
        (workflow(), ("invalid_field", "/tasks")),
        (workflow("a"), ("invalid_field", "/tasks/0")),
        (workflow(transform("a"), settings={"fusion": "on"}), ("invalid_field", "/settings/fusion")),
        (workflow(transform("a"), settings={"fuson": "off"}), ("unknown_field", "/settings/fuson")),
        (workflow(transform("a"), settings={"timeout": "soon"}), ("invalid_field", "/settings/timeout")),
        (workflow(transform("a"), input=[]), ("invalid_field", "/input")),
        (workflow(transform("a", next="b")), ("invalid_field", "/tasks/0/next")),
        (workflow(transform("a", next=[1])), ("invalid_field", "/tasks/0/next/0")),
        (workflow(transform("a", join="some")), ("invalid_field", "/tasks/0/join")),
        (workflow(transform("a", on_error="ignore")), ("invalid_field", "/tasks/0/on_error")),
        (workflow(transform("a", on_error={"go": "b"})), ("unknown_field", "/tasks/0/on_error/go")),
        (workflow(model("a", retry={"attempts": 0})), ("invalid_field", "/tasks/0/retry/attempts")),
        (workflow(model("a", retry={"attempts": True})), ("invalid_field", "/tasks/0/retry/attempts")),
        (workflow(model("a", retry={"atempts": 2})), ("unknown_field", "/tasks/0/retry/atempts")),
        (workflow(transform("a", config=[])), ("invalid_field", "/tasks/0/config")),
        (workflow({"id": 7, "type": "transform", "config": {"set": {}}}), ("invalid_field", "/tasks/0/id")),
        (workflow({"id": "a", "config": {}}), ("missing_field", "/tasks/0")),
        (workflow({"id": "a", "type": "transform"}), ("missing_field", "/tasks/0")),
        (workflow({"id": "a", "type": "transfrom", "config": {}}), ("unknown_type", "/tasks/0/type")),
        (workflow(transform("a"), trigger={"type": "webook"}), ("unknown_type", "/trigger/type")),
        (workflow(transform("a"), trigger="manual"), ("invalid_field", "/trigger")),
        (
            workflow(transform("a"), trigger={"type": "manual", "config": {"x": 1}}),
            ("unknown_field", "/trigger/config/x"),
        ),
        (workflow(transform("a"), vars=["ok", "not ok"]), ("invalid_field", "/vars/1")),
        (workflow(transform("a"), vars=["twice", "twice"]), ("invalid_field", "/vars/1")),
    ],
)
def test_shapes(source: dict[str, Any], expected: tuple[str, str]) -> None:
    assert expected in codes(source)


def test_every_problem_of_a_file_is_reported_in_document_order() -> None:
    source = workflow(
        transform("Bad-Id", colour="red"),
        model("b", "{{ nobody.output }}", next=["c"]),
        {"id": "c", "type": "conditional", "config": {"conditions": [{"then": "d"}], "fallback": "b"}},
        transform("b", {"x": "{{ 1 + }}"}),
        name=1,
    )
    assert codes(source) == [
        ("invalid_field", "/name"),
        ("unsafe_identifier", "/tasks/0/id"),
        ("unknown_field", "/tasks/0/colour"),
        ("undefined_reference", "/tasks/1/config/prompt"),
        ("missing_field", "/tasks/2/config/conditions/0"),
        ("unknown_task", "/tasks/2/config/conditions/0/then"),
        ("unknown_field", "/tasks/2/config/fallback"),
        ("duplicate_id", "/tasks/3/id"),
        ("expression_syntax", "/tasks/3/config/set/x"),
    ]


# --- identifiers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task_id", ["a", "a" * 63, "class", "print", "timedelta", "x_1", "z9"])
def test_safe_ids(task_id: str) -> None:
    assert codes(workflow(transform(task_id), id=task_id)) == []


@pytest.mark.parametrize("task_id", ["", "A", "a-b", "a.b", "1a", "_a", "a" * 64, "a\n", "ä", "a b", "a'"])
def test_unsafe_ids(task_id: str) -> None:
    assert ("unsafe_identifier", "/tasks/0/id") in codes(workflow(transform(task_id)))
    assert ("unsafe_identifier", "/id") in codes(workflow(transform("a"), id=task_id))


@pytest.mark.parametrize(
    "task_id",
    [
        "input",
        "trigger",
        "execution",
        "vars",
        "item",
        "loop",
        "self",
        "and",
        "or",
        "not",
        "in",
        "is",
        "if",
        "else",
        "none",
        "true",
        "false",
    ],
)
def test_reserved_ids(task_id: str) -> None:
    assert codes(workflow(transform(task_id))) == [("unsafe_identifier", "/tasks/0/id")]


def test_what_is_reserved() -> None:
    names = "input trigger execution vars item loop self and or not in is if else none true false"
    assert " ".join(sorted(RESERVED_IDS)) == " ".join(sorted(names.split()))


def test_duplicate_ids_are_reported_at_the_later_one() -> None:
    assert codes(workflow(transform("a"), transform("b"), transform("a"))) == [("duplicate_id", "/tasks/2/id")]


# --- configs of the available types ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"prompt": "x"}, ("missing_field", "/tasks/0/config")),
        ({"model": "gpt-4"}, ("missing_field", "/tasks/0/config")),
        (
            {"model": "m", "prompt": "x", "messages": [{"role": "user", "content": "x"}]},
            ("invalid_config", "/tasks/0/config"),
        ),
        ({"model": "m", "route": "r", "prompt": "x"}, ("invalid_config", "/tasks/0/config")),
        ({"model": "", "prompt": "x"}, ("invalid_field", "/tasks/0/config/model")),
        ({"model": "m", "prompt": ["x"]}, ("invalid_field", "/tasks/0/config/prompt")),
        ({"model": "m", "messages": []}, ("invalid_field", "/tasks/0/config/messages")),
        (
            {"model": "m", "messages": [{"role": "bot", "content": "x"}]},
            ("invalid_field", "/tasks/0/config/messages/0/role"),
        ),
        ({"model": "m", "prompt": "x", "max_tokens": "100"}, ("invalid_field", "/tasks/0/config/max_tokens")),
        ({"model": "m", "prompt": "x", "max_tokens": 0}, ("invalid_config", "/tasks/0/config/max_tokens")),
        ({"model": "m", "prompt": "x", "temperature": 3}, ("invalid_config", "/tasks/0/config/temperature")),
        ({"model": "m", "prompt": "x", "max_tokens": "{{ 1 }} "}, ("invalid_config", "/tasks/0/config/max_tokens")),
        (
            {"model": "m", "prompt": "x", "max_tokens": "{{ not input.n }}"},
            ("invalid_config", "/tasks/0/config/max_tokens"),
        ),
        (
            {"model": "m", "prompt": "x", "output_schema": {"type": "string"}},
            ("invalid_config", "/tasks/0/config/output_schema"),
        ),
        ({"model": "m", "promt": "x"}, ("unknown_field", "/tasks/0/config/promt")),
    ],
)
def test_ai_inference(config: dict[str, Any], expected: tuple[str, str]) -> None:
    assert expected in codes(with_config("ai_inference", config))


def test_numbers_of_ai_inference_may_be_expressions() -> None:
    config = {"model": "m", "prompt": "x", "max_tokens": "{{ input.limit }}", "temperature": 0}
    assert codes(with_config("ai_inference", config)) == []


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, ("missing_field", "/tasks/0/config")),
        ({"set": {"a": 1}, "from": 1, "jsonpath": "$"}, ("invalid_config", "/tasks/0/config")),
        ({"set": {"a": 1}, "from": 1}, ("invalid_config", "/tasks/0/config")),
        ({"jsonpath": "$"}, ("missing_field", "/tasks/0/config")),
        ({"from": 1}, ("missing_field", "/tasks/0/config")),
        ({"from": 1, "jsonpath": "a["}, ("invalid_config", "/tasks/0/config/jsonpath")),
        ({"from": 1, "jsonpath": "$.a[?@.b = 1]"}, ("invalid_config", "/tasks/0/config/jsonpath")),
        ({"from": 1, "jsonpath": "$" + "[?@" * 200}, ("invalid_config", "/tasks/0/config/jsonpath")),
        ({"from": 1, "jsonpath": ""}, ("invalid_config", "/tasks/0/config/jsonpath")),
        ({"from": 1, "jsonpath": "$[?match(@, '(?=a)')]"}, ("invalid_config", "/tasks/0/config/jsonpath")),
        ({"set": []}, ("invalid_field", "/tasks/0/config/set")),
    ],
)
def test_transform(config: dict[str, Any], expected: tuple[str, str]) -> None:
    assert codes(with_config("transform", config)) == [expected]


@pytest.mark.parametrize("jsonpath", ["$", "$.a[*]", "$..b", "$[?@.a == 'x' && @.b > 1]", "$['{{ input.key }}']"])
def test_jsonpaths(jsonpath: str) -> None:
    assert codes(with_config("transform", {"from": "{{ input }}", "jsonpath": jsonpath})) == []


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, ("missing_field", "/tasks/0/config")),
        ({"body": 1, "status": 99}, ("invalid_config", "/tasks/0/config/status")),
        ({"body": 1, "status": "200"}, ("invalid_field", "/tasks/0/config/status")),
        ({"body": 1, "headers": {"X Y": "1"}}, ("invalid_config", "/tasks/0/config/headers")),
        ({"body": 1, "headers": {"X": "a\r\nSet-Cookie: b"}}, ("invalid_config", "/tasks/0/config/headers")),
        ({"body": 1, "headers": {"X": 1}}, ("invalid_field", "/tasks/0/config/headers/X")),
    ],
)
def test_respond(config: dict[str, Any], expected: tuple[str, str]) -> None:
    assert codes(with_config("respond", config)) == [expected]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, ("missing_field", "/tasks/0/config")),
        ({"conditions": []}, ("invalid_field", "/tasks/0/config/conditions")),
        ({"conditions": [{"if": "x == 1", "then": "b"}]}, ("invalid_config", "/tasks/0/config/conditions/0/if")),
        ({"conditions": [{"if": True, "then": "b"}]}, ("invalid_config", "/tasks/0/config/conditions/0/if")),
        (
            {"conditions": [{"if": "{{ 1 }}{{ 2 }}", "then": "b"}]},
            ("invalid_config", "/tasks/0/config/conditions/0/if"),
        ),
        ({"conditions": [{"if": "{{ 1 }}", "then": "c"}]}, ("unknown_task", "/tasks/0/config/conditions/0/then")),
        ({"conditions": [{"if": "{{ 1 }}", "then": "b"}], "default": "c"}, ("unknown_task", "/tasks/0/config/default")),
        (
            {"conditions": [{"if": "{{ 1 }}", "then": "b", "else": "c"}]},
            ("unknown_field", "/tasks/0/config/conditions/0/else"),
        ),
    ],
)
def test_conditional(config: dict[str, Any], expected: tuple[str, str]) -> None:
    source = workflow({"id": "a", "type": "conditional", "config": config}, transform("b"))
    assert expected in codes(source)


def test_a_condition_without_braces_gets_the_braces_suggested() -> None:
    (found,) = problems(workflow(choice("a", ("input.x == 1", "b"), default="b"), transform("b")))
    assert found.suggestion == "{{ input.x == 1 }}"


def test_no_default_branch_is_a_warning() -> None:
    source = workflow(choice("a", ("{{ input.x }}", "b")), transform("b"))
    (found,) = problems(source)
    assert (found.severity, found.code, found.path, found.task_id) == (
        "warning", "no_default_branch", "/tasks/0/config", "a",
    )  # fmt: skip
    assert plan_of(source).steps[0].id == "a"


@pytest.mark.parametrize("task", [choice("a", ("{{ 1 }}", "b"), default="b"), transform("a", next=["b"])])
def test_retry_on_a_step_that_calls_nothing(task: dict[str, Any]) -> None:
    assert codes(workflow({**task, "retry": {"attempts": 2}}, transform("b"))) == [("invalid_config", "/tasks/0/retry")]


@pytest.mark.parametrize("field", ["code", "runtime_image", "resource_limits"])
def test_pod_fields_belong_to_code_and_containers(field: str) -> None:
    value: Any = {"cpu": "1"} if field == "resource_limits" else "x"
    assert codes(workflow(transform("a", **{field: value}))) == [("invalid_config", f"/tasks/0/{field}")]


# --- durations -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(5, 5), (0.5, 0.5), ("250ms", 0.25), ("100ms", 0.1), ("30s", 30), ("1.5m", 90), ("2h", 7200), ("1d", 86400)],
)
def test_durations(given: Any, seconds: float) -> None:
    plan = plan_of(workflow(model("a", timeout=given), settings={"timeout": given}))
    assert plan.steps[0].timeout_seconds == seconds
    assert plan.timeout_seconds == seconds


@pytest.mark.parametrize(
    "given", [0, -1, True, "", "s", "5", "5 s", "5sec", "-5s", "1e3s", ".5s", "٣s", "5s\n", "400d", []]
)
def test_no_durations(given: Any) -> None:
    assert ("invalid_field", "/tasks/0/timeout") in codes(workflow(model("a", timeout=given)))


# --- limits ----------------------------------------------------------------------------------------------------------


def test_a_thousand_tasks() -> None:
    assert codes(workflow(*(transform(f"t{number}") for number in range(1_000)))) == []
    assert codes(workflow(*(transform(f"t{number}") for number in range(1_001)))) == [("limit_exceeded", "/tasks")]


def test_a_thousand_tasks_with_those_of_maps() -> None:
    body = [transform(f"b{number}") for number in range(600)]
    mapped = {"id": "m", "type": "map", "config": {"over": "{{ input }}", "tasks": body}}
    outer = (transform(f"t{number}") for number in range(500))
    assert ("limit_exceeded", "/tasks") in codes(workflow(mapped, *outer))
