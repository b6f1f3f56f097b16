"""The difference of two workflows, by what it means."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.agents.diff import MAX_CHANGES, diff_workflows

pytestmark = pytest.mark.unit


def workflow(*tasks: Any, **more: Any) -> dict[str, Any]:
    return {"id": "w", "name": "W", "version": "1", "tasks": list(tasks)} | more


def task(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "type": "transform", "config": {"set": {}}} | more


def test_tasks_by_id_whatever_their_order() -> None:
    assert diff_workflows(workflow(task("a"), task("b")), workflow(task("b"), task("a")))["identical"]
    diff = diff_workflows(workflow(task("a"), task("b")), workflow(task("c"), task("a")))
    assert diff["tasks"] == {
        "added": [{"id": "c", "type": "transform"}],
        "removed": [{"id": "b", "type": "transform"}],
        "changed": [],
    }


def test_fields_as_pointers() -> None:
    before = task("a", config={"set": {"x/y": [1, 2, 3], "gone": 1}}, timeout="1s")
    after = task("a", config={"set": {"x/y": [1, 5], "new": None}}, timeout="1s")
    [changed] = diff_workflows(workflow(before), workflow(after))["tasks"]["changed"]
    assert changed == {
        "id": "a",
        "changes": [
            {"path": "/config/set/x~1y/1", "op": "replace", "before": 2, "after": 5},
            {"path": "/config/set/x~1y/2", "op": "remove", "before": 3},
            {"path": "/config/set/gone", "op": "remove", "before": 1},
            {"path": "/config/set/new", "op": "add", "after": None},
        ],
    }


@pytest.mark.parametrize(
    ("before", "after", "same"), [(1, True, False), (0, False, False), (1, 1.0, True), ("1", 1, False)]
)
def test_json_has_its_own_idea_of_equal(before: Any, after: Any, same: bool) -> None:
    assert diff_workflows({"x": before}, {"x": after})["identical"] is same


def test_edges_of_every_kind() -> None:
    choose = {
        "id": "a",
        "type": "conditional",
        "config": {"conditions": [{"if": "{{ 1 }}", "then": "b"}], "default": "c"},
    }
    ask = {"id": "p", "type": "approval", "config": {"title": "t", "routes": {"approve": "b"}}}
    fail = task("f", next=["b"], on_error={"goto": "c"})
    edges = diff_workflows(workflow(), workflow(choose, ask, fail))["edges"]
    assert {(edge["from"], edge["to"], edge["kind"]) for edge in edges["added"]} == {
        ("a", "b", "then"),
        ("a", "c", "default"),
        ("p", "b", "approve"),
        ("f", "b", "next"),
        ("f", "c", "goto"),
    }


def test_bodies_of_maps() -> None:
    def mapped(*body: Any) -> dict[str, Any]:
        return workflow({"id": "m", "type": "map", "config": {"over": "{{ input }}", "tasks": list(body)}})

    diff = diff_workflows(mapped(task("x", next=["y"]), task("y")), mapped(task("x", timeout="1s"), task("z")))
    assert [each["id"] for each in diff["tasks"]["added"]] == ["m/z"]
    assert [each["id"] for each in diff["tasks"]["changed"]] == ["m/x"]
    assert diff["edges"]["removed"] == [{"from": "m/x", "to": "m/y", "kind": "next"}]


def test_triggers_by_what_they_are() -> None:
    hook = {"type": "webhook", "config": {"path": "/webhook/a", "method": "POST"}}
    cron = {"type": "schedule", "config": {"cron": "0 6 * * *"}}
    slower = {"type": "webhook", "config": {"path": "/webhook/a", "method": "PUT"}}
    diff = diff_workflows(workflow(trigger=hook), workflow(triggers=[cron, slower]))["triggers"]
    assert [each["id"] for each in diff["added"]] == ["schedule:0 6 * * *"]
    assert diff["removed"] == []
    assert [change["path"] for change in diff["changed"][0]["changes"]] == ["/config/method"]


def test_bounded() -> None:
    before, after = ({f"f{n}": n + add for n in range(MAX_CHANGES + 1)} for add in (0, 1))
    diff = diff_workflows(before, after)
    assert (len(diff["workflow"]), diff["truncated"], diff["identical"]) == (MAX_CHANGES, True, False)
    [change] = diff_workflows({"x": "a" * 3_000}, {"x": "b"})["workflow"]
    assert change["before"] == {"too_large_to_show": True, "bytes": 3_002}


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcdef"), inner, max_size=3),
    max_leaves=8,
)
_NAMES = ["id", "type", "next", "on_error", "config", "tasks", "trigger", "triggers", "conditions", "then", "routes"]
_DOCUMENTS = st.dictionaries(
    st.sampled_from(_NAMES),
    _JSON
    | st.lists(st.dictionaries(st.sampled_from(_NAMES), _JSON | st.sampled_from(["map", "approval"])), max_size=3),
    max_size=6,
)


@given(_DOCUMENTS, _DOCUMENTS)
def test_any_two_objects_can_be_compared(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert diff_workflows(before, before)["identical"]
    diff_workflows(before, after)
