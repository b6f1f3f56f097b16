"""Stage check: edges, cycles, references, schemas."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from compiler import compile_workflow, validate_workflow
from tests.compiler.building import as_bytes, choice, codes, model, plan_of, problems, transform, warnings_of, workflow

pytestmark = pytest.mark.unit

EXAMPLE = Path(__file__).parents[2] / "dags" / "examples" / "customer_support.json"


def seed() -> dict[str, Any]:
    """The example as it was first printed: without the handlers."""
    source: dict[str, Any] = json.loads(EXAMPLE.read_text())
    source["tasks"] = source["tasks"][:2]
    del source["output"]
    return source


def test_the_first_sample_lacks_its_three_handlers() -> None:
    found = validate_workflow(as_bytes(seed()))
    assert [(diagnostic.severity, diagnostic.code, diagnostic.path, diagnostic.task_id) for diagnostic in found] == [
        ("error", "unknown_task", "/tasks/1/config/conditions/0/then", "route_to_handler"),
        ("error", "unknown_task", "/tasks/1/config/conditions/1/then", "route_to_handler"),
        ("error", "unknown_task", "/tasks/1/config/default", "route_to_handler"),
    ]


def test_the_example_compiles_and_infers_the_intent() -> None:
    plan = plan_of(EXAMPLE.read_bytes())
    assert problems(EXAMPLE.read_bytes()) == []
    schema = plan.steps[0].config["output_schema"]
    assert isinstance(schema, dict)
    assert schema["properties"] == {
        "intent": {
            "type": "string",
            "description": 'One of: "billing", "technical" or "other".',
            "examples": ["billing", "technical"],
        }
    }
    assert plan.steps[0].config["schema_inferred"] is True


# --- edges -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "path"),
    [
        (transform("a", next=["bb"]), "/tasks/0/next/0"),
        (transform("a", on_error={"goto": "bb"}), "/tasks/0/on_error/goto"),
        (choice("a", ("{{ 1 }}", "bb"), default="b"), "/tasks/0/config/conditions/0/then"),
        (choice("a", ("{{ 1 }}", "b"), default="bb"), "/tasks/0/config/default"),
        (transform("a", next=["b", "B"]), "/tasks/0/next/1"),
    ],
)
def test_unknown_tasks_are_reported_at_the_reference(task: dict[str, Any], path: str) -> None:
    (found,) = problems(workflow(task, transform("b")))
    assert (found.code, found.path, found.task_id) == ("unknown_task", path, "a")
    assert found.suggestion == ("b" if path != "/tasks/0/next/1" else None)


def test_a_task_is_not_suggested_to_itself() -> None:
    (found,) = problems(workflow(transform("report"), transform("reports", next=["reportz"])))
    assert found.suggestion == "report"
    (found,) = problems(workflow(transform("a"), transform("reports", next=["reportz"])))
    assert found.suggestion is None


@pytest.mark.parametrize(
    ("task", "path"),
    [
        (choice("a", ("{{ 1 }}", "b"), default="c", next=["b"]), "/tasks/0/config/conditions/0/then"),
        (choice("a", ("{{ 1 }}", "c"), default="b", next=["b"]), "/tasks/0/config/default"),
        (transform("a", next=["b", "c"], on_error={"goto": "c"}), "/tasks/0/on_error/goto"),
    ],
)
def test_a_target_in_next_and_elsewhere(task: dict[str, Any], path: str) -> None:
    assert codes(workflow(task, transform("b"), transform("c"))) == [("invalid_config", path)]


def test_edges_of_the_plan() -> None:
    task = choice("a", ("{{ 1 }}", "b"), ("{{ 2 }}", "b"), default="c", next=["d", "d"], on_error={"goto": "b"})
    plan = plan_of(workflow(task, *(transform(name) for name in "bcd")))
    assert [(edge.kind, edge.target) for edge in plan.steps[0].edges] == [
        ("then", "b"), ("default", "c"), ("next", "d"), ("goto", "b"),
    ]  # fmt: skip
    assert plan.steps[0].on_error == "goto"


def test_edges_stand_in_document_order() -> None:
    task = {"on_error": {"goto": "d"}, "next": ["c"], **choice("a", ("{{ 1 }}", "b"), default="b")}
    plan = plan_of(workflow(task, *(transform(name) for name in "bcd")))
    assert [edge.target for edge in plan.steps[0].edges] == ["d", "c", "b"]


# --- cycles ----------------------------------------------------------------------------------------------------------


def test_a_cycle_names_its_tasks() -> None:
    source = workflow(transform("s", next=["a"]), transform("a", next=["b"]), transform("b", next=["a"]))
    (found,) = problems(source)
    assert (found.code, found.path) == ("cycle", "/tasks/1")
    assert "'a' and 'b'" in found.message
    assert "'s'" not in found.message


@pytest.mark.parametrize(
    "task",
    [transform("a", next=["a"]), transform("a", on_error={"goto": "a"}), choice("a", ("{{ 1 }}", "a"), default="b")],
)
def test_a_task_that_leads_to_itself(task: dict[str, Any]) -> None:
    assert ("cycle", "/tasks/0") in codes(workflow(task, transform("b")))


def test_two_cycles_are_two_problems() -> None:
    names = [("a", "b"), ("b", "a"), ("c", "d"), ("d", "c")]
    source = workflow(*(transform(name, next=[target]) for name, target in names))
    assert codes(source) == [("cycle", "/tasks/0"), ("cycle", "/tasks/2")]


def test_unreachable_behind_a_cycle() -> None:
    source = workflow(
        transform("a", next=["b"]),
        transform("b", next=["a", "c"]),
        transform("c", next=["d"]),
        transform("d"),
        transform("s", next=["e"]),
        transform("e"),
    )
    assert codes(source) == [("cycle", "/tasks/0"), ("unreachable_task", "/tasks/2"), ("unreachable_task", "/tasks/3")]


def test_a_task_with_another_way_is_reachable() -> None:
    source = workflow(transform("a", next=["a", "c"]), transform("s", next=["c"]), transform("c"))
    assert codes(source) == [("cycle", "/tasks/0")]


# --- references ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected", "suggestion"),
    [
        ("{{ inputs.x }}", "undefined_reference", "input"),
        ("{{ firts.output }}", "undefined_reference", "first"),
        ("{{ first }}", "undefined_reference", "first.output"),
        ("{{ first.x }}", "undefined_reference", "first.output.x"),
        ("{{ first.outputs.x }}", "undefined_reference", "first.output.outputs"),
        ("{{ first['output']['y'] }}", "undefined_reference", None),
        ("{{ first.output.xx }}", "undefined_reference", "x"),
        ("{{ first.error.mesage }}", "undefined_reference", "message"),
        ("{{ vars.reigon }}", "undefined_reference", "region"),
        ("{{ execution.started }}", "undefined_reference", "started_at"),
        ("{{ item.x }}", "undefined_reference", None),
        ("{{ loop.index }}", "undefined_reference", None),
        ("{{ after.output.x }}", "not_upstream", None),
        ("{{ second.output.x }}", "not_upstream", None),
        ("{{ beside.output.x }}", "not_upstream", None),
        ("{{ 1 +* 2 }}", "expression_syntax", None),
        ("{% if input.x %}", "expression_syntax", None),
        ("{% set x = 1 %}", "expression_forbidden", None),
        ("{{ input.x.upper() }}", "expression_forbidden", None),
        ("{{ input.__class__ }}", "expression_forbidden", None),
    ],
)
def test_references(text: str, expected: str, suggestion: str | None) -> None:
    source = workflow(
        transform("first", next=["second"]),
        transform("second", {"x": text}, next=["after"]),
        transform("after"),
        transform("beside"),
        vars=["region"],
    )
    (found,) = problems(source)
    assert (found.code, found.path, found.task_id) == (expected, "/tasks/1/config/set/x", "second")
    if suggestion is not None:
        assert found.suggestion == suggestion


@pytest.mark.parametrize(
    "text",
    [
        "{{ input }}", "{{ input.anything['x'][0] }}", "{{ trigger.headers['x-a'] }}", "{{ execution.id }}",
        "{{ vars.region }}", "{{ vars }}", "{{ first.output }}", "{{ first.output.x }}", "{{ first.status }}",
        "{{ first.error.code }}", "{{ first.output.y | default(1) }}", "{{ first.output.y is defined }}",
        "{% for item in input.list %}{{ item }}{{ loop.index }}{% endfor %}", "{{ vars[input.key] }}",
    ],
)  # fmt: skip
def test_good_references(text: str) -> None:
    source = workflow(transform("first", next=["second"]), transform("second", {"x": text}), vars=["region"])
    assert codes(source) == []


def test_output_may_refer_to_every_task() -> None:
    source = workflow(transform("a"), transform("b"), output={"a": ["{{ a.output.x }}"], "b": "{{ b.output.z }}"})
    (found,) = problems(source)
    assert (found.code, found.path, found.task_id) == ("undefined_reference", "/output/b", None)


def test_every_kind_of_edge_makes_upstream() -> None:
    text = {"x": "{{ a.status }}"}
    source = workflow(
        choice("a", ("{{ 1 }}", "b"), default="c", next=["d"], on_error={"goto": "e"}),
        *(transform(name, text) for name in "bcde"),
    )
    assert codes(source) == []


def test_a_default_does_not_excuse_an_unlisted_variable() -> None:
    source = workflow(transform("a", {"x": "{{ vars.region | default('eu') }}"}))
    assert codes(source) == [("undefined_reference", "/tasks/0/config/set/x")]


def test_null_is_called_none() -> None:
    (found,) = problems(workflow(transform("a", {"x": "{{ input.x == null }}"})))
    assert (found.code, found.suggestion) == ("undefined_reference", "none")


def test_strings_that_are_no_templates() -> None:
    schema = {"type": "object", "description": "{{ nobody }}"}
    source = workflow(
        model("a", config={"output_schema": schema}, name="{{ nobody }}", description="{% nothing %}"),
        transform("b", {"{{ nobody }}": 1}),
        name="{{ nobody }}",
        description="{{",
    )
    assert codes(source) == []


def test_follow_up_errors_of_a_slip_are_not_reported() -> None:
    source = workflow(
        transform("a", next=["bb"]),
        transform("b", {"x": "{{ a.output.x }}"}),
        transform("c", {"x": "{{ b.output.x }}"}),
    )
    assert codes(source) == [("unknown_task", "/tasks/0/next/0"), ("not_upstream", "/tasks/2/config/set/x")]


@pytest.mark.parametrize("slip", [{"next": "b"}, {"nxt": ["b"]}, {"config": {"set": 1}}])
def test_a_task_that_cannot_be_read_may_lead_anywhere(slip: dict[str, Any]) -> None:
    source = workflow({**transform("a"), **slip}, transform("b", {"x": "{{ a.output.x }}"}))
    assert {code for code, _ in codes(source)} <= {"invalid_field", "unknown_field"}


@pytest.mark.parametrize("trigger", ["webhook", "manual"])
def test_keys_of_the_trigger(trigger: str) -> None:
    config = {"path": "x"} if trigger == "webhook" else {}
    source = workflow(transform("a", {"x": "{{ trigger.header }}"}), trigger={"type": trigger, "config": config})
    assert codes(source) == ([("undefined_reference", "/tasks/0/config/set/x")] if trigger == "webhook" else [])


CLOSED = {
    "type": "object",
    "properties": {"id": {}, "order": {"type": "object", "properties": {"n": {}}, "additionalProperties": False}},
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("schema", "text", "wrong"),
    [
        (CLOSED, "{{ input.idd }}", True),
        (CLOSED, "{{ input.order.m }}", True),
        (CLOSED, "{{ input.order.m | default(0) }}", False),
        (CLOSED, "{{ input.order.n.deep }}", False),
        ({**CLOSED, "additionalProperties": True}, "{{ input.idd }}", False),
        ({**CLOSED, "patternProperties": {"^x": {}}}, "{{ input.xx }}", False),
        ({"type": "object"}, "{{ input.idd }}", False),
    ],
)
def test_keys_of_the_input(schema: dict[str, Any], text: str, wrong: bool) -> None:
    source = workflow(transform("a", {"x": text}), input=schema)
    assert codes(source) == ([("undefined_reference", "/tasks/0/config/set/x")] if wrong else [])


# --- joins -----------------------------------------------------------------------------------------------------------


def racing(text: str, join: str = "any", **extra: Any) -> list[tuple[str, str]]:
    source = workflow(
        transform("start", next=["left", "right"]),
        transform("left", next=["end"]),
        transform("right", next=["end"]),
        transform("end", {"x": text}, join=join, next=["last"]),
        transform("last", {"x": "{{ start.output.x }}"}, **extra),
    )
    return codes(source)


def test_racy_references() -> None:
    assert racing("{{ left.output.x }}") == [("racy_reference", "/tasks/3/config/set/x")]
    assert racing("{{ left.output.x }}", join="all") == []
    assert racing("{{ start.output.x }}") == []


def test_a_racy_reference_is_a_warning() -> None:
    source = workflow(
        transform("a", next=["c"]), transform("b", next=["c"]), transform("c", {"x": "{{ a.status }}"}, join="any")
    )
    (found,) = problems(source)
    assert found.severity == "warning"
    assert plan_of(source).steps[2].join == "any"


def test_what_follows_a_racy_step_races_too() -> None:
    source = workflow(
        transform("a", next=["c"]),
        transform("b", next=["c"]),
        transform("c", join="any", next=["d"]),
        transform("d", {"x": "{{ b.output.x }}"}),
    )
    assert codes(source) == [("racy_reference", "/tasks/3/config/set/x")]


def test_one_predecessor_is_no_race() -> None:
    source = workflow(transform("a", next=["b"]), transform("b", {"x": "{{ a.output.x }}"}, join="any"))
    assert codes(source) == []


def test_suggestions_end_where_nobody_reads_on() -> None:
    found = problems(workflow(*(transform(f"task_{number}", next=[f"tusk_{number}"]) for number in range(150))))
    assert len(found) == 150
    assert found[0].suggestion is not None
    assert found[149].suggestion is None


# --- messages --------------------------------------------------------------------------------------------------------


def test_messages_are_sentences() -> None:
    source = workflow(
        transform("A", {"x": "{{ nobody }}{{ 1 + }}", "y": "{{ x }}"}, nxt=1),
        choice("c", ("x", "d"), ("{{ 'a' * 2 }}", "c")),
        input={"type": "x"},
        settings={"timeout": 0},
    )
    for found in problems(source):
        assert re.fullmatch(r"[A-Z`'].*[.?!]", found.message, re.DOTALL), found.message
        assert len(found.message) < 400


def test_a_bad_organisation_is_refused() -> None:
    for slug in ("", "Acme", "a_b", "a" * 40, "acme\n", "1a"):
        with pytest.raises(ValueError, match="organisation"):
            compile_workflow(as_bytes(workflow(transform("a"))), organization=slug)


def test_validate_reports_what_compile_reports() -> None:
    source = workflow(transform("a", next=["b"]))
    assert warnings_of(source) == codes(source)
