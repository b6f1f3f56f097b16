"""Stage check: the bodies of maps."""

from __future__ import annotations

from typing import Any

import pytest

from tests.compiler.building import codes, transform, workflow

pytestmark = pytest.mark.unit


def mapped(task_id: str, *body: dict[str, Any], **config: Any) -> dict[str, Any]:
    extra = {"next": config.pop("next")} if "next" in config else {}
    return {
        "id": task_id,
        "type": "map",
        "config": {"over": "{{ input.list }}", "tasks": list(body), **config},
        **extra,
    }


def without_types(source: dict[str, Any]) -> list[tuple[str, str]]:
    return [found for found in codes(source) if found[0] != "unavailable_type"]


def test_a_body_sees_its_item_and_what_is_upstream_of_its_map() -> None:
    body = transform("inner", {"x": "{{ item.id }}{{ before.output.x }}"}, next=["second"])
    second = transform("second", {"x": "{{ inner.output.x }}"})
    source = workflow(transform("before", next=["m"]), mapped("m", body, second, result="{{ second.output.x }}"))
    assert without_types(source) == []
    named = mapped("m", transform("inner", {"x": "{{ ticket.id }}"}), **{"as": "ticket"})
    assert without_types(workflow(named)) == []


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
    assert without_types(source) == [(expected, "/tasks/0/config/tasks/0/config/set/x")]


def test_outside_sees_only_the_map() -> None:
    source = workflow(
        mapped("m", transform("inner"), next=["after"]),
        transform("after", {"x": "{{ inner.output.x }}", "y": "{{ m.output }}", "z": "{{ item }}"}),
    )
    assert without_types(source) == [
        ("not_upstream", "/tasks/1/config/set/x"), ("undefined_reference", "/tasks/1/config/set/z"),
    ]  # fmt: skip


def test_bodies_do_not_see_each_other() -> None:
    first = mapped("m", mapped("deep", transform("one", {"x": "{{ two.output.x }}"})))
    source = workflow(first, mapped("n", transform("two")))
    assert without_types(source) == [("not_upstream", "/tasks/0/config/tasks/0/config/tasks/0/config/set/x")]


def test_edges_do_not_cross_a_body() -> None:
    source = workflow(mapped("m", transform("inner", next=["after"]), next=["after"]), transform("after"))
    assert without_types(source) == [("unknown_task", "/tasks/0/config/tasks/0/next/0")]


def test_ids_of_bodies_are_unique_in_the_workflow() -> None:
    source = workflow(transform("a"), mapped("m", transform("a")))
    assert without_types(source) == [("duplicate_id", "/tasks/1/config/tasks/0/id")]


def test_nested_maps() -> None:
    waits = {"id": "w", "type": "wait", "config": {"seconds": 1}}
    assert without_types(workflow(mapped("m", mapped("n", transform("x"))))) == []
    assert without_types(workflow(mapped("m", waits, mapped("n", transform("x"))))) == []
    assert without_types(workflow(mapped("m", mapped("n", waits)))) == [("nested_map", "/tasks/0/config/tasks/0/type")]
    deep = mapped("m", mapped("n", mapped("o", waits)))
    inner = "/tasks/0/config/tasks/0"
    assert without_types(workflow(deep)) == [
        ("nested_map", f"{inner}/type"), ("nested_map", f"{inner}/config/tasks/0/type"),
    ]  # fmt: skip
