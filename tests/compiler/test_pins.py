"""Calls that pin a version of the workflow they call, and the DAGs of such versions."""

from __future__ import annotations

from typing import Any

import pytest

from compiler import compile_workflow
from compiler.emit import emit_pinned
from compiler.pins import Pin, pinned_dag_id, pinned_number, pins_of
from compiler.plan import Plan, plan_digest
from tests.compiler.building import as_bytes, codes, plan_of, transform, warnings_of, workflow

pytestmark = pytest.mark.unit


def call(task_id: str = "a", workflow_id: str = "score", **config: Any) -> dict[str, Any]:
    return {"id": task_id, "type": "workflow", "config": {"workflow": workflow_id, "input": {}, **config}}


@pytest.mark.parametrize("version", [1, 999_999_999, "1.0", "1", "{{ 1 }}"])
def test_a_number_or_a_label(version: Any) -> None:
    source = workflow(call(version=version))
    assert codes(source) == warnings_of(source) == []
    (step,) = plan_of(source).steps
    assert (step.config["version"], type(step.config["version"])) == (version, type(version))


@pytest.mark.parametrize(
    ("version", "code"),
    [(0, "invalid_config"), (-1, "invalid_config"), (10**9, "invalid_config"), ("", "invalid_config"),
     (True, "invalid_field"), (1.0, "invalid_field"), ([1], "invalid_field")],
)  # fmt: skip
def test_no_version(version: Any, code: str) -> None:
    assert {(found, path.partition("/version")[0]) for found, path in codes(workflow(call(version=version)))} == {
        (code, "/tasks/0/config")
    }


def test_pins_of_a_plan_are_those_of_its_bodies_too() -> None:
    body = [call("inner", "rate", version="2.0"), call("free", "rate")]
    many = {"id": "many", "type": "map", "config": {"over": "{{ input.l }}", "tasks": body}}
    plan = plan_of(workflow(transform("t"), call(version=3), many, call("newest")))
    assert list(pins_of(plan)) == [
        Pin("score", 3, "a", "/tasks/1/config/version"),
        Pin("rate", "2.0", "inner", "/tasks/2/config/tasks/0/config/version"),
    ]


def test_dag_ids_of_versions_are_those_of_no_workflow() -> None:
    dag_id = pinned_dag_id("acme-v2__score_v3", 12)
    assert dag_id == "acme-v2__score_v3-v12"
    assert pinned_number(dag_id) == 12
    for other in ("acme__score", "acme__score_v2", "acme__score__v2", "acme-v2__score", "acme__score-v0", "acme-v2",
                  "acme__score-v1.py", "agent-factory.releases"):  # fmt: skip
        assert pinned_number(other) is None


def test_a_version_has_a_dag_that_only_calls_start() -> None:
    source = workflow(transform("a"), trigger={"type": "schedule", "config": {"cron": "0 2 * * *"}})
    compiled = compile_workflow(as_bytes(source), organization="acme")
    plan: Any = compiled.plan
    own = compiled.files["acme__flow.py"].decode()
    content = plan.to_bytes()
    files = emit_pinned(plan, content, 7)
    assert files.keys() == {"acme__flow-v7.py", "acme__flow-v7.plan.json"}
    assert files["acme__flow-v7.plan.json"] == content == compiled.files["acme__flow.plan.json"]
    text = files["acme__flow-v7.py"].decode()
    assert 'dag_id="acme__flow-v7"' in text
    assert "schedule=None" in text
    assert ("CronTriggerTimetable" in own, "CronTriggerTimetable" in text) == (True, False)
    assert f"plan:{plan_digest(content)[:12]}" in text
    assert Plan.from_bytes(content) == plan
