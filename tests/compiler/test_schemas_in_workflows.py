"""Stage check: JSON Schemas that stand in a workflow."""

from __future__ import annotations

from typing import Any

import pytest

from tests.compiler.building import codes, model, transform, workflow

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ({"type": "objekt"}, "/type"),
        ({"properties": {"a": {"minimum": "1"}}}, "/properties/a/minimum"),
        ({"pattern": "("}, "/pattern"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "/$schema"),
        ({"$ref": "https://example.com/schema"}, "/$ref"),
        ({"properties": {"a": {"$ref": "other.json"}}}, "/properties/a/$ref"),
        (
            {"$id": "http://x/y", "properties": {"a": {"$ref": "http://x/y#/$defs/b"}}, "$defs": {"b": {}}},
            "/properties/a/$ref",
        ),
        ({"$ref": "#/$defs/none"}, "/$ref"),
        ({"$ref": "#nowhere"}, "/$ref"),
        ({"$ref": "#/examples/0", "examples": [{"$ref": "http://x"}]}, "/$ref"),
        ({"$ref": "#"}, ""),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}}, "/$defs/a"),
        ({"properties": {"a": {"$id": "http://x/y"}}}, "/properties/a/$id"),
    ],
)
def test_bad_schemas(schema: dict[str, Any], path: str) -> None:
    assert codes(workflow(transform("a"), input=schema)) == [("invalid_field", "/input" + path)]
    found = codes(workflow(model("a", config={"output_schema": {**schema, "type": schema.get("type", "object")}})))
    assert found == [("invalid_config", "/tasks/0/config/output_schema" + path)]


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object", "properties": {"$ref": {"type": "string"}}},
        {"const": {"$ref": "http://example.com"}, "default": {"$ref": 1}},
        {
            "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}},
            "$ref": "#/$defs/node",
        },
        {"$id": "urn:me", "$anchor": "top", "properties": {"a": {"$ref": "#top"}}},
        {"properties": {"a": True, "b": False}, "allOf": [True, {"$ref": "#/properties/a"}]},
        {"format": "email", "unknown-keyword": {"$ref": "http://example.com"}},
    ],
)
def test_good_schemas(schema: dict[str, Any]) -> None:
    assert codes(workflow(transform("a"), input=schema)) == []


def test_a_schema_of_64_kilobytes() -> None:
    schema = {"type": "object", "description": "x" * 64 * 1024}
    assert codes(workflow(transform("a"), input=schema)) == [("limit_exceeded", "/input")]
    found = codes(workflow(model("a", config={"output_schema": schema})))
    assert found == [("limit_exceeded", "/tasks/0/config/output_schema")]
