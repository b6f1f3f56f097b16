"""Triggers by events, ``emit_event``, and the settings that limit executions: how they are checked and planned."""

from __future__ import annotations

from typing import Any

import pytest

from compiler.plan import Concurrency
from tests.compiler.building import codes, plan_of, problems, transform, workflow

pytestmark = pytest.mark.unit


def on_event(condition: Any, **extra: Any) -> dict[str, Any]:
    return workflow(
        transform("a"), trigger={"type": "event", "config": {"type": "order.made", "filter": condition}}, **extra
    )


def limited(key: Any, **extra: Any) -> dict[str, Any]:
    return workflow(transform("a"), settings={"concurrency": {"limit": 2, "key": key}}, **extra)


class TestEventTrigger:
    def test_it_is_planned(self) -> None:
        plan = plan_of(on_event("{{ input.total > 10 }}"))
        assert plan.triggers[0].config == {"type": "order.made", "filter": "{{ input.total > 10 }}"}

    def test_without_filter(self) -> None:
        source = workflow(transform("a"), trigger={"type": "event", "config": {"type": "order.made"}})
        assert plan_of(source).triggers[0].config["filter"] is None

    @pytest.mark.parametrize(
        "condition",
        [
            "{{ trigger.event.subject == 'x' and trigger.event.source != '/a' }}",
            "{{ trigger.type == 'event' and input is defined }}",
            "{{ trigger.event.time or trigger.event.id or trigger.event.type }}",
        ],
    )
    def test_right(self, condition: str) -> None:
        assert codes(on_event(condition)) == []

    @pytest.mark.parametrize(
        ("condition", "code"),
        [
            ("input.total > 10", "invalid_config"),
            ("{{ input.total }} and more", "invalid_config"),
            (True, "invalid_config"),
            ({"x": "{{ input }}"}, "invalid_config"),
            ("{{ input.total > }}", "expression_syntax"),
            ("{{ input.total.__class__ }}", "expression_forbidden"),
            ("{{ a.output.x }}", "undefined_reference"),
            ("{{ vars.x }}", "undefined_reference"),
            ("{{ execution.id }}", "undefined_reference"),
            ("{{ item }}", "undefined_reference"),
            ("{{ event.type }}", "undefined_reference"),
            ("{{ trigger.evnt.type }}", "undefined_reference"),
            ("{{ trigger.event.typ }}", "undefined_reference"),
        ],
    )
    def test_wrong(self, condition: Any, code: str) -> None:
        assert codes(on_event(condition)) == [(code, "/trigger/config/filter")]

    def test_at_its_place_among_several(self) -> None:
        triggers = [{"type": "manual"}, {"type": "event", "config": {"type": "x", "filter": "{{ nobody }}"}}]
        source = workflow(transform("a"), triggers=triggers)
        del source["trigger"]
        assert codes(source) == [("undefined_reference", "/triggers/1/config/filter")]

    def test_the_slip_is_named(self) -> None:
        [diagnostic] = problems(on_event("{{ inptu.total }}"))
        assert "only input and trigger" in diagnostic.message
        assert diagnostic.suggestion == "input"

    @pytest.mark.parametrize(
        "config", [{}, {"type": ""}, {"type": 7}, {"type": "x" * 501}, {"type": "x", "fliter": "y"}]
    )
    def test_bad_config(self, config: dict[str, Any]) -> None:
        assert codes(workflow(transform("a"), trigger={"type": "event", "config": config}))

    def test_tasks_see_the_event(self) -> None:
        right = on_event(None, output="{{ trigger.event.id }}")
        assert codes(right) == []
        wrong = on_event(None, output="{{ trigger.event.data }}")
        assert codes(wrong) == [("undefined_reference", "/output")]

    def test_a_webhook_has_no_event(self) -> None:
        source = workflow(
            transform("a"), trigger={"type": "webhook", "config": {"path": "x"}}, output="{{ trigger.event.id }}"
        )
        assert codes(source) == [("undefined_reference", "/output")]


def test_workflow_trigger() -> None:
    assert plan_of(workflow(transform("a"), trigger={"type": "workflow"})).triggers[0].type == "workflow"


class TestEmitEvent:
    def test_it_is_a_light_step(self) -> None:
        emit = {"id": "tell", "type": "emit_event", "config": {"type": "made", "data": {"x": "{{ a.output.x }}"}}}
        plan = plan_of(workflow(transform("a", next=["tell"]), emit))
        assert [unit.steps for unit in plan.units] == [("a", "tell")]

    def test_its_output_has_one_key(self) -> None:
        emit = {"id": "tell", "type": "emit_event", "config": {"type": "made", "data": 1}}
        assert codes(workflow(emit, output="{{ tell.output.event_id }}")) == []
        assert codes(workflow(emit, output="{{ tell.output.id }}")) == [("undefined_reference", "/output")]

    @pytest.mark.parametrize("config", [{}, {"type": "x"}, {"data": 1}, {"type": "", "data": 1}])
    def test_bad_config(self, config: dict[str, Any]) -> None:
        assert codes(workflow({"id": "tell", "type": "emit_event", "config": config}))


class TestSettings:
    def test_concurrency(self) -> None:
        assert plan_of(limited("{{ input.customer }}")).concurrency == Concurrency(limit=2, key="{{ input.customer }}")

    def test_nothing(self) -> None:
        plan = plan_of(workflow(transform("a")))
        assert (plan.concurrency, plan.conflict, plan.error_workflow) == (None, None, None)

    def test_conflict_without_concurrency_means_one_at_a_time(self) -> None:
        plan = plan_of(workflow(transform("a"), settings={"conflict": "fail"}))
        assert plan.concurrency == Concurrency(limit=1)
        assert plan.conflict == "fail"

    def test_conflict_with_concurrency(self) -> None:
        settings = {"conflict": "use_existing", "concurrency": {"limit": 3}}
        assert plan_of(workflow(transform("a"), settings=settings)).concurrency == Concurrency(limit=3)

    @pytest.mark.parametrize(
        ("key", "code"),
        [
            ("input.customer", "invalid_config"),
            ("{{ a.output.x }}", "undefined_reference"),
            ("{{ execution.id }}", "undefined_reference"),
            ("{{ input. }}", "expression_syntax"),
        ],
    )
    def test_bad_key(self, key: str, code: str) -> None:
        assert codes(limited(key)) == [(code, "/settings/concurrency/key")]

    def test_key_of_a_webhook(self) -> None:
        webhook = {"type": "webhook", "config": {"path": "x"}}
        assert codes(limited("{{ trigger.headers['x-customer'] }}", trigger=webhook)) == []
        assert codes(limited("{{ trigger.body }}", trigger=webhook)) == [
            ("undefined_reference", "/settings/concurrency/key")
        ]

    @pytest.mark.parametrize("limit", [0, -1, 1.5, "1", 100_001])
    def test_bad_limit(self, limit: Any) -> None:
        source = workflow(transform("a"), settings={"concurrency": {"limit": limit}})
        assert codes(source) == [("invalid_field", "/settings/concurrency/limit")]

    def test_error_workflow(self) -> None:
        assert plan_of(workflow(transform("a"), settings={"error_workflow": "mourn"})).error_workflow == "mourn"

    @pytest.mark.parametrize("name", ["Mourn", "a-b", "", "{{ input.x }}"])
    def test_bad_error_workflow(self, name: str) -> None:
        source = workflow(transform("a"), settings={"error_workflow": name})
        assert codes(source) == [("unsafe_identifier", "/settings/error_workflow")]
