"""Stage check: the bodies of maps."""

from __future__ import annotations

from typing import Any

import pytest

from compiler.plan import every_step
from tests.compiler.building import choice, codes, model, plan_of, problems, transform, workflow

pytestmark = pytest.mark.unit


def mapped(task_id: str, *body: dict[str, Any], **config: Any) -> dict[str, Any]:
    extra = {"next": config.pop("next")} if "next" in config else {}
    return {
        "id": task_id,
        "type": "map",
        "config": {"over": "{{ input.list }}", "tasks": list(body), **config},
        **extra,
    }


def test_a_body_sees_its_item_and_what_is_upstream_of_its_map() -> None:
    body = transform("inner", {"x": "{{ item.id }}{{ before.output.x }}"}, next=["second"])
    second = transform("second", {"x": "{{ inner.output.x }}"})
    source = workflow(transform("before", next=["m"]), mapped("m", body, second, result="{{ second.output.x }}"))
    assert codes(source) == []
    named = mapped("m", transform("inner", {"x": "{{ ticket.id }}"}), **{"as": "ticket"})
    assert codes(workflow(named)) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ after.output.x }}", "not_upstream"),
        ("{{ m.output }}", "not_upstream"),
        ("{{ ticket.id }}", "undefined_reference"),
    ],
)
def test_what_a_body_does_not_see(text: str, expected: str) -> None:
    source = workflow(mapped("m", transform("inner", {"x": text}), next=["after"]), transform("after"))
    assert codes(source) == [(expected, "/tasks/0/config/tasks/0/config/set/x")]


def test_outside_sees_only_the_map() -> None:
    source = workflow(
        mapped("m", transform("inner"), next=["after"]),
        transform("after", {"x": "{{ inner.output.x }}", "y": "{{ m.output }}", "z": "{{ item }}"}),
    )
    assert codes(source) == [
        ("not_upstream", "/tasks/1/config/set/x"), ("undefined_reference", "/tasks/1/config/set/z"),
    ]  # fmt: skip


def test_bodies_do_not_see_each_other() -> None:
    first = mapped("m", mapped("deep", transform("one", {"x": "{{ two.output.x }}"})))
    source = workflow(first, mapped("n", transform("two")))
    assert codes(source) == [("not_upstream", "/tasks/0/config/tasks/0/config/tasks/0/config/set/x")]


def test_edges_do_not_cross_a_body() -> None:
    source = workflow(mapped("m", transform("inner", next=["after"]), next=["after"]), transform("after"))
    assert codes(source) == [("unknown_task", "/tasks/0/config/tasks/0/next/0")]


def test_ids_of_bodies_are_unique_in_the_workflow() -> None:
    source = workflow(transform("a"), mapped("m", transform("a")))
    assert codes(source) == [("duplicate_id", "/tasks/1/config/tasks/0/id")]


def besides_types(source: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what is reported besides types of steps that do not run yet."""
    return [found for found in codes(source) if found[0] != "unavailable_type"]


def test_nested_maps() -> None:
    waits = {"id": "w", "type": "wait", "config": {"seconds": 1}}
    assert besides_types(workflow(mapped("m", mapped("n", transform("x"))))) == []
    assert besides_types(workflow(mapped("m", waits, mapped("n", transform("x"))))) == []
    assert besides_types(workflow(mapped("m", mapped("n", waits)))) == [("nested_map", "/tasks/0/config/tasks/0/type")]
    deep = mapped("m", mapped("n", mapped("o", waits)))
    inner = "/tasks/0/config/tasks/0"
    assert besides_types(workflow(deep)) == [
        ("nested_map", f"{inner}/type"), ("nested_map", f"{inner}/config/tasks/0/type"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("over", "kind"),
    [
        ("{{ input.list | length }}", "number"),
        ("{{ 'a,b' }}", "string"),
        ("{{ input.list == [] }}", "boolean"),
        ("{{ {'a': 1} }}", "object"),
        ("{{ none }}", "null"),
    ],
)
def test_over_must_not_visibly_be_something_else_than_a_list(over: str, kind: str) -> None:
    (found,) = problems(workflow(mapped("m", transform("inner"), over=over)))
    assert (found.code, found.path) == ("invalid_config", "/tasks/0/config/over")
    assert f"of type {kind}" in found.message


@pytest.mark.parametrize(
    "over", ["{{ input.list }}", "{{ [1, 2] }}", "{{ 'a,b' | split(',') }}", "{{ [1] + input.x }}"]
)
def test_over_may_be_a_list(over: str) -> None:
    assert codes(workflow(mapped("m", transform("inner"), over=over))) == []


def test_the_item_must_not_be_called_like_a_task() -> None:
    for name in ("before", "inner", "m"):
        source = workflow(transform("before"), mapped("m", transform("inner"), **{"as": name}))
        assert codes(source) == [("invalid_config", "/tasks/1/config/as")]


def test_an_inner_item_may_have_the_name_of_the_outer_one() -> None:
    inner = mapped("n", transform("x", {"x": "{{ item.id }}"}), over="{{ item.list }}")
    assert codes(workflow(mapped("m", inner))) == []


def test_retry_makes_no_sense() -> None:
    source = workflow({**mapped("m", transform("inner")), "retry": {"attempts": 2}})
    assert codes(source) == [("invalid_config", "/tasks/0/retry")]


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ("{{ inner.output.x }}", []),
        ("{{ item }}", []),
        ("{{ after.output.x }}", [("not_upstream", "/tasks/0/config/result")]),
        ("{{ inner.output.y }}", [("undefined_reference", "/tasks/0/config/result")]),
        ("{{ nobody }}", [("undefined_reference", "/tasks/0/config/result")]),
    ],
)
def test_result_sees_the_body(result: str, expected: list[tuple[str, str]]) -> None:
    source = workflow(mapped("m", transform("inner"), result=result, next=["after"]), transform("after"))
    assert codes(source) == expected


class TestPlan:
    def test_a_map_carries_its_body_with_edges_and_defaults(self) -> None:
        source = workflow(mapped("m", transform("a", next=["b"]), transform("b", {"y": "{{ a.output.x }}"})))
        (step,) = plan_of(source).steps
        assert [(inner.id, [edge.target for edge in inner.edges]) for inner in step.body] == [("a", ["b"]), ("b", [])]
        assert step.config == {"over": "{{ input.list }}", "as": "item", "concurrency": 10, "on_item_error": "fail"}
        assert [inner.id for inner in every_step([step])] == ["m", "a", "b"]

    def test_a_model_in_a_body_gets_the_schema_its_uses_imply(self) -> None:
        branch = choice("route", ("{{ classify.output.kind == 'bug' }}", "x"))
        source = workflow(
            mapped(
                "m", model("classify", next=["route"]), branch, transform("x"), result="{{ classify.output.score + 1 }}"
            )
        )
        (step,) = plan_of(source).steps
        schema = step.body[0].config["output_schema"]
        assert isinstance(schema, dict)
        assert list(schema["properties"]) == ["kind", "score"]  # type: ignore[arg-type, call-overload]

    def test_a_map_of_light_steps_shares_a_segment(self) -> None:
        source = workflow(
            transform("a", next=["m"]), mapped("m", mapped("n", transform("x")), next=["b"]), transform("b")
        )
        (unit,) = plan_of(source).units
        assert (unit.id, unit.kind, unit.steps) == ("segment.a", "segment", ("a", "m", "b"))
        assert [unit.id for unit in plan_of(source, fusion="off").units] == ["a", "m", "b"]
