"""``approval``: its config, its routes as edges, its place among the units."""

from __future__ import annotations

from typing import Any

import pytest

from tests.compiler.building import codes, plan_of, transform, workflow

pytestmark = pytest.mark.unit


def approval(config: dict[str, Any] | None = None, **extra: Any) -> dict[str, Any]:
    return {"id": "ask", "type": "approval", "config": {"title": "Pay?", **(config or {})}, **extra}


def source(config: dict[str, Any] | None = None, **extra: Any) -> dict[str, Any]:
    return workflow(approval(config, **extra), transform("yes"), transform("no"))


@pytest.mark.parametrize(
    ("config", "extra", "expected"),
    [
        ({"on_timeout": "reject"}, {}, ("invalid_config", "/tasks/0/config")),
        ({"timeout": "1d", "on_timeout": "later"}, {}, ("invalid_field", "/tasks/0/config/on_timeout")),
        ({"routes": {}}, {}, ("missing_field", "/tasks/0/config/routes")),
        ({"routes": {"approved": "yes"}}, {}, ("unknown_field", "/tasks/0/config/routes/approved")),
        ({"routes": {"approve": "nowhere"}}, {}, ("unknown_task", "/tasks/0/config/routes/approve")),
        ({"routes": {"reject": "ask"}}, {}, ("cycle", "/tasks/0")),
        ({"routes": {"reject": "no"}}, {"next": ["no"]}, ("invalid_config", "/tasks/0/config/routes/reject")),
        ({}, {"retry": {"attempts": 2}}, ("invalid_config", "/tasks/0/retry")),
        ({"assignees": "ann"}, {}, ("invalid_field", "/tasks/0/config/assignees")),
        ({"title": "{{ nobody.output }}"}, {}, ("undefined_reference", "/tasks/0/config/title")),
    ],
)
def test_what_is_wrong(config: dict[str, Any], extra: dict[str, Any], expected: tuple[str, str]) -> None:
    assert expected in codes(source(config, **extra))


def test_other_tasks_see_the_decision_and_nothing_else() -> None:
    reader = transform("read", {"by": "{{ ask.output.by }}", "who": "{{ ask.output.who }}"})
    assert codes(workflow(approval(next=["read"]), reader)) == [("undefined_reference", "/tasks/1/config/set/who")]


def test_the_routes_are_edges_of_their_decision() -> None:
    plan = plan_of(source({"routes": {"approve": "yes", "reject": "no"}}))
    assert [(edge.kind, edge.target) for edge in plan.steps[0].edges] == [("approve", "yes"), ("reject", "no")]


def test_both_routes_may_lead_to_one_task() -> None:
    plan = plan_of(source({"routes": {"reject": "yes", "approve": "yes"}}))
    assert [(edge.kind, edge.target) for edge in plan.steps[0].edges] == [("reject", "yes"), ("approve", "yes")]


def test_it_is_a_unit_of_its_own() -> None:
    before = transform("before", next=["ask"])
    plan = plan_of(workflow(before, approval({"timeout": "1d", "routes": {"approve": "yes"}}), transform("yes")))
    assert [(unit.id, unit.kind, unit.upstream) for unit in plan.units] == [
        ("before", "segment", ()), ("ask", "approval", ("before",)), ("yes", "segment", ("ask",))
    ]  # fmt: skip
    assert plan.steps[1].config["timeout"] == 86_400
