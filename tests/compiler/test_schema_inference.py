"""What schema is inferred from how an output is used."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.compiler.building import choice, model, plan_of, transform, workflow

pytestmark = pytest.mark.unit


def inferred(*texts: str, output: Any = None) -> Any:
    """Return the schema of ``a`` where a transform and perhaps the output hold some texts."""
    values = {f"v{number}": text for number, text in enumerate(texts)}
    source = workflow(model("a", next=["b"]), transform("b", values))
    if output is not None:
        source["output"] = output
    config = plan_of(source).steps[0].config
    assert ("output_schema" in config) == config.get("schema_inferred", False)
    schema = config.get("output_schema")
    if schema is not None:
        Draft202012Validator.check_schema(schema)
    return schema


def one_of(*values: str) -> dict[str, Any]:
    quoted = ", ".join(f'"{value}"' for value in values)
    return {"type": "string", "description": f'One of: {quoted} or "other".', "examples": list(values)}


@pytest.mark.parametrize(
    "text",
    ["{{ a.output }}", "{{ a.output.text }}", "{{ a.output['text'] | upper }}", "{{ a.status }}", "{{ a.error.code }}",
     "{{ a.output[input.key] }}", "{{ a.output.text | default('x') }}", "no use at all"],
)  # fmt: skip
def test_uses_that_infer_nothing(text: str) -> None:
    assert inferred(text) is None


@pytest.mark.parametrize(
    ("text", "schema"),
    [
        ("{{ a.output.x == 'billing' }}", one_of("billing")),
        ("{{ 'billing' == a.output.x }}", one_of("billing")),
        ("{{ a.output.x in ['b', 'a', 'b'] }}", one_of("b", "a")),
        ("{{ a.output.x | lower == 'yes' }}", one_of("yes")),
        ("{{ a.output.x != 'no' }}", one_of("no")),
        ("{{ a.output.x > 3 }}", {"type": "number"}),
        ("{{ a.output.x * 2 }}", {"type": "number"}),
        ("{{ a.output.x == 5 }}", {"type": "number"}),
        ("{{ not a.output.x }}", {"type": "boolean"}),
        ("{% if a.output.x %}y{% endif %}", {"type": "boolean"}),
        ("{{ 1 if a.output.x else 2 }}", {"type": "boolean"}),
        ("{{ a.output.x | trim }}", {"type": "string"}),
        ("{{ a.output.x }}", {}),
        ("Say {{ a.output.x }}.", {}),
        ("{% for i in a.output.x %}{{ i }}{% endfor %}", {}),
    ],
)
def test_types(text: str, schema: dict[str, Any]) -> None:
    assert inferred(text) == {"type": "object", "properties": {"x": schema}, "required": ["x"]}


def test_a_condition_asks_for_truth() -> None:
    source = workflow(model("a", next=["c"]), choice("c", ("{{ a.output.urgent }}", "d"), default="d"), transform("d"))
    schema: Any = plan_of(source).steps[0].config["output_schema"]
    assert schema["properties"] == {"urgent": {"type": "boolean"}}


def test_values_are_collected_in_the_order_of_the_document() -> None:
    schema = inferred("{{ a.output.x == 'one' }}", "{{ a.output.x == 'two' or a.output.x == 'one' }}")
    assert schema["properties"]["x"] == one_of("one", "two")


def test_other_is_not_suggested_twice() -> None:
    assert inferred("{{ a.output.x in ['a', 'other'] }}")["properties"]["x"] == {
        "type": "string",
        "description": 'One of: "a" or "other".',
        "examples": ["a", "other"],
    }
    assert inferred("{{ a.output.x == 'other' }}")["properties"]["x"]["description"] == 'For example "other".'


def test_uses_that_disagree_allow_anything() -> None:
    assert inferred("{{ a.output.x == 'a' }}", "{{ a.output.x > 1 }}")["properties"]["x"] == {}


def test_passing_a_value_on_disagrees_with_nothing() -> None:
    assert inferred("{{ a.output.x == 'a' }}", "{{ a.output.x }} and {{ a.output.x }}")["properties"]["x"] == one_of(
        "a"
    )


def test_optional_fields() -> None:
    schema = inferred("{{ a.output.x | default('-') }}", "{{ a.output.y is defined }}", "{{ a.output.z }}")
    assert set(schema["properties"]) == {"x", "y", "z"}
    assert schema["required"] == ["z"]
    schema = inferred("{{ a.output.x | default('-') }}", "{{ a.output.x }}")
    assert schema["required"] == ["x"]


def test_text_belongs_to_the_schema_where_others_are_read_too() -> None:
    schema = inferred("{{ a.output.text }}", "{{ a.output.intent == 'x' }}")
    assert set(schema["properties"]) == {"text", "intent"}


def test_nested_fields() -> None:
    schema = inferred(
        "{{ a.output.who.name == 'Ann' }}", "{{ a.output.who.age | default(1) }}", "{{ a.output.list[0].n > 1 }}"
    )
    assert schema["properties"] == {
        "who": {"type": "object", "properties": {"name": one_of("Ann"), "age": {}}, "required": ["name"]},
        "list": {
            "type": "array",
            "items": {"type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"]},
        },
    }


def test_the_output_of_the_workflow_counts() -> None:
    assert inferred(output={"x": "{{ a.output.intent }}"})["required"] == ["intent"]


def test_a_given_schema_stays() -> None:
    given = {"type": "object", "properties": {"y": {"type": "string"}}}
    source = workflow(
        model("a", config={"output_schema": given}, next=["b"]), transform("b", {"v": "{{ a.output.x }}"})
    )
    config = plan_of(source).steps[0].config
    assert config["output_schema"] == given
    assert "schema_inferred" not in config
