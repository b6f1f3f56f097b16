"""The published JSON Schema is current, and agrees with the compiler about shapes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from compiler.published_schema import published_schema
from compiler.steps import STEP_TYPES
from tests.compiler.building import choice, model, transform, warnings_of, workflow

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs" / "workflow.schema.json"
WORKFLOWS = sorted((ROOT / "tests" / "workflows").glob("*.json"))


def test_the_file_is_current() -> None:
    assert json.loads(FILE.read_text()) == published_schema(), (
        "run: python -m compiler.published_schema > docs/workflow.schema.json"
    )


def test_it_is_a_schema_with_every_type() -> None:
    schema = json.loads(FILE.read_text())
    Draft202012Validator.check_schema(schema)
    assert schema["$defs"]["TaskFields"]["properties"]["type"]["enum"] == list(STEP_TYPES)


def validator() -> Draft202012Validator:
    return Draft202012Validator(json.loads(FILE.read_text()))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_it_takes_the_corpus(path: Path) -> None:
    validator().validate(json.loads(path.read_text())["workflow"])


def test_it_takes_the_example() -> None:
    validator().validate(json.loads((ROOT / "dags" / "examples" / "customer_support.json").read_text()))


@pytest.mark.parametrize(
    "source",
    [
        {},
        workflow(),
        workflow(transform("a"), colour="red"),
        workflow(transform("A")),
        workflow(transform("a"), version=1),
        workflow({"id": "a", "type": "transfrom", "config": {}}),
        workflow({"id": "a", "type": "respond", "config": {}}),
        workflow(transform("a", on_error={"go": "b"})),
        workflow(transform("a", timeout="soon")),
        workflow(model("a", config={"max_tokens": "many"})),
        workflow(choice("a")),
        workflow(transform("a"), trigger={"type": "webhook", "config": {}}),
        workflow(transform("a"), triggers=[{"type": "manual"}]),
    ],
)
def test_it_refuses_what_the_compiler_refuses(source: Any) -> None:
    assert warnings_of(source)
    assert not validator().is_valid(source)
