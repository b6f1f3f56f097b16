"""Explanations: the golden texts and pictures, what may run at the same time, and that no text breaks a picture.

``python -m tests.compiler.explain.test_explain`` writes the golden texts anew; look at the difference before you
commit it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.compilation import compile_workflow
from compiler.explain import Explanation, as_mermaid, as_text, explain_workflow
from tests.compiler.building import as_bytes, choice, model, transform, workflow
from tests.strategies.workflows import Case, cases

pytestmark = pytest.mark.unit

GOLDEN = Path(__file__).parents[2] / "golden"
NAMES = ["customer_support", "order_desk", "race"]
RENDERINGS = {"explain.txt": as_text, "explain.mmd": as_mermaid}


def explained(source: Any, **options: Any) -> Explanation:
    _, explanation = explain_workflow(as_bytes(source), **options)
    assert explanation is not None
    return explanation


def beside(explanation: Explanation) -> dict[str, tuple[str, ...]]:
    return {step.id: step.beside for step in explanation.steps}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ending", RENDERINGS)
def test_golden(name: str, ending: str) -> None:
    explanation = explained((GOLDEN / f"{name}.json").read_bytes())
    assert RENDERINGS[ending](explanation) == (GOLDEN / f"{name}.{ending}").read_text()


def test_branches_of_a_choice_exclude_each_other() -> None:
    source = workflow(
        choice("c", ("{{ input.x }}", "a"), default="b", next=["z"]), transform("a"), transform("b"), transform("z")
    )
    assert beside(explained(source)) == {"c": (), "a": ("z",), "b": ("z",), "z": ("a", "b")}


def test_what_follows_a_failure_excludes_what_follows_a_success() -> None:
    source = workflow(model("m", next=["ok"], on_error={"goto": "bad"}), transform("ok"), transform("bad"))
    assert beside(explained(source)) == {"m": (), "ok": (), "bad": ()}
    both = workflow(model("m", next=["ok", "bad"], on_error="continue"), transform("ok"), transform("bad"))
    assert beside(explained(both)) == {"m": (), "ok": ("bad",), "bad": ("ok",)}


def test_a_step_reached_by_both_branches_is_on_neither() -> None:
    source = workflow(
        choice("c", ("{{ input.x }}", "a"), default="b"),
        transform("a", next=["both", "more"]),
        transform("b", next=["both"]),
        transform("both"),
        transform("more"),
    )
    assert beside(explained(source))["more"] == ("both",)


def test_routes_are_named_by_their_decision() -> None:
    config = {"title": "Pay?", "routes": {"approve": "yes", "reject": "no"}}
    source = workflow({"id": "ask", "type": "approval", "config": config}, transform("yes"), transform("no"))
    explanation = explained(source)
    assert {"approve -> yes", "reject -> no"} <= {line.strip(" -") for line in as_text(explanation).splitlines()}
    assert '-- "approve" -->' in as_mermaid(explanation)


def test_unfused_each_step_is_an_airflow_task() -> None:
    source = workflow(transform("a", next=["b"]), transform("b"), transform("z"))
    units = explained(source, fusion="off").units
    assert [(unit.id, unit.waits_for, unit.beside) for unit in units] == [
        ("a", (), ("z",)), ("b", ("a",), ("z",)), ("z", (), ("a", "b")),
    ]  # fmt: skip


def test_what_does_not_run_yet_is_explained() -> None:
    diagnostics, explanation = explain_workflow(
        as_bytes(
            workflow(
                {"id": "a", "type": "retrieve", "config": {"collection": "docs", "query": "x"}, "next": ["b"]},
                {
                    "id": "b",
                    "type": "map",
                    "config": {"over": "{{ input.list }}", "tasks": [transform("inner", {"x": "{{ item }}"})]},
                    "next": ["c"],
                },
                {"id": "c", "type": "container", "config": {}, "runtime_image": "alpine"},
                trigger={"type": "event", "config": {"type": "order.made"}},
            )
        )
    )
    assert {diagnostic.severity for diagnostic in diagnostics} <= {"warning"}
    assert explanation is not None
    assert [(unit.kind, len(unit.steps)) for unit in explanation.units] == [("segment", 2), ("container", 1)]
    text = as_text(explanation)
    assert "started by event 'order.made'" in text
    assert "for each item inner (transform)" in text
    if any(not step.available for step in explanation.steps):
        assert "does not run in this version" in text


def test_errors_have_no_explanation() -> None:
    diagnostics, explanation = explain_workflow(as_bytes(workflow(transform("a", next=["b"]))))
    assert [diagnostic.code for diagnostic in diagnostics] == ["unknown_task"]
    assert explanation is None


def test_json_can_be_written() -> None:
    data = orjson.loads(orjson.dumps(explained((GOLDEN / "order_desk.json").read_bytes()).as_json()))
    assert data["workflow_id"] == "order_desk"
    assert data["units"][0]["steps"][0]["retry"]["attempts"] == 3


_LINE = re.compile(
    r"""flowchart[ ]TD | end
    | [stu]\d+ (?: \[ %s \] | \[\[ %s \]\] | \{\{ %s \}\} | \(\[ %s \]\) )
    | subgraph[ ]u\d+\[ %s \]
    | [st]\d+[ ] (?: --> | --[ ]%s[ ]--> | -\.[ ]%s[ ]\.-> ) [ ]s\d+"""
    % ((r'"(?:[\w ,./:–-]|\#\d+;|<br/>)*"',) * 7),
    re.VERBOSE,
)  # fmt: skip
"""All that a picture may hold: quoted labels of letters, digits, a few signs and entity codes."""


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.text(max_size=30) | st.sampled_from(['"]; click s0 "javascript:x"', "`x`", "end", "#quot;", "%%{init: {}}%%"])
)
def test_no_text_breaks_a_picture(text: str) -> None:
    condition = "{{ " + json.dumps(text, ensure_ascii=True) + " }}"
    source = workflow(
        choice("end", (condition, "style"), default="graph"), transform("style"), transform("graph"), name=text
    )
    _, explanation = explain_workflow(as_bytes(source))
    if explanation is None:
        return
    for line in as_mermaid(explanation).splitlines():
        assert _LINE.fullmatch(line.strip()), line
    for line in as_text(explanation).splitlines():
        assert line.isprintable()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(cases())
def test_any_workflow_is_explained_whole(case: Case) -> None:
    explanation = explained(case.source())
    plan = compile_workflow(case.source(), organization="local").plan
    assert plan is not None
    assert {step.id for step in explanation.steps} == {step.id for step in plan.steps}
    assert sum(len(step.ways) for step in explanation.steps) == sum(len(step.edges) for step in plan.steps)
    told: set[str] = set()
    for unit in explanation.units:
        assert told >= set(unit.waits_for), "what is waited for comes first"
        told.add(unit.id)
    for line in as_mermaid(explanation).splitlines():
        assert _LINE.fullmatch(line.strip()), line
    for step_id, others in beside(explanation).items():
        assert all(step_id in beside(explanation)[other] for other in others)


if __name__ == "__main__":
    for each in NAMES:
        for suffix, rendering in RENDERINGS.items():
            (GOLDEN / f"{each}.{suffix}").write_text(rendering(explained((GOLDEN / f"{each}.json").read_bytes())))
