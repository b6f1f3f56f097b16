"""Fields from schemas, and inputs from what was entered."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.form.fields import errors_by_field, fields_of, input_of

pytestmark = pytest.mark.unit


def of(properties: dict[str, Any], *required: str) -> Any:
    return fields_of({"type": "object", "properties": properties, "required": list(required)})


@pytest.mark.parametrize(
    ("schema", "kind", "text", "value"),
    [
        ({"type": "string"}, "text", "  Ann ", "  Ann "),
        ({"type": "string"}, "text", "a\r\nb", "a\nb"),
        ({"type": "string"}, "text", "{{ 1 }}", "{{ 1 }}"),
        ({"type": "string", "enum": ["a", "b"]}, "choice", "1", "b"),
        ({"enum": [1, True, None, "x"]}, "choice", "1", True),
        ({"enum": [1, None]}, "choice", "1", None),
        ({"type": "boolean"}, "choice", "1", False),
        ({"type": "integer"}, "number", "7", 7),
        ({"type": "number"}, "number", "-1.5e3", -1500.0),
        ({"type": "object"}, "json", '{"a": [1]}', {"a": [1]}),
        ({"type": "array"}, "json", "[1, 2]", [1, 2]),
        ({"type": ["string", "null"]}, "json", "null", None),
        ({"$ref": "#/$defs/x"}, "json", '"x"', "x"),
        ({"enum": [{"a": 1}]}, "json", '{"a": 1}', {"a": 1}),
        ({}, "json", "1", 1),
        (True, "json", "1", 1),
    ],
)
def test_property(schema: Any, kind: str, text: str, value: Any) -> None:
    fields = of({"p": schema})
    assert fields[0].kind == kind
    assert input_of(fields, {"input.p": text}) == ({"p": value}, {})


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "integer"}, "seven"), ({"type": "number"}, "NaN"), ({"type": "number"}, "true"),
        ({"type": "number"}, '"1"'), ({"type": "boolean"}, "2"), ({"type": "boolean"}, "-1"),
        ({"type": "boolean"}, "٣"), ({"type": "object"}, "{"), ({"type": "array"}, "[1,]"),
    ],
)  # fmt: skip
def test_what_is_no_value(schema: Any, text: str) -> None:
    value, errors = input_of(of({"p": schema}), {"input.p": text})
    assert (value, set(errors)) == ({}, {"input.p"})


def test_empty_fields_are_left_out() -> None:
    properties = {"text": {"type": "string"}, "number": {"type": "number"}, "json": {}, "flag": {"type": "boolean"}}
    entered = {f"input.{key}": "" for key in properties}
    assert input_of(of(properties), entered) == ({}, {})
    assert input_of(of(properties, *properties), entered) == ({"text": ""}, {})


@pytest.mark.parametrize(
    "schema",
    [None, {}, True, {"type": "array"}, {"type": "object"}, {"type": "object", "properties": {}},
     {"properties": {"a": {}}}, {"type": "object", "properties": []}],
)  # fmt: skip
def test_whole_input(schema: Any) -> None:
    fields = fields_of(schema)
    assert [(field.name, field.kind, field.initial) for field in fields] == [("input", "json", "{}")]
    assert input_of(fields, {"input": "[1]"}) == ([1], {})
    assert input_of(fields, {"input": ""}) == ({}, {})
    assert set(input_of(fields, {"input": "x"})[1]) == {"input"}


def test_whole_input_where_it_is_asked_for() -> None:
    assert fields_of({"type": "object", "properties": {"a": {}}}, as_json=True)[0].key is None


def test_labels_and_defaults() -> None:
    properties = {
        "a": {"type": "string", "title": "First", "description": "The first.", "default": "x"},
        "b": {"enum": [0, False], "default": False},
        "c": {"type": "object", "default": {"k": 1}},
        "d": {"type": "integer", "default": 3},
        "e": {"type": "boolean", "default": True},
    }
    shown = [(field.label, field.help, field.required, field.initial) for field in of(properties, "b")]
    assert shown == [
        ("First", "The first.", False, "x"), ("b", "", True, "1"), ("c", "", False, '{"k":1}'), ("d", "", False, "3"),
        ("e", "", False, "0"),
    ]  # fmt: skip


def test_errors_stand_beside_their_fields() -> None:
    fields = of({"a/b": {}, "c~d": {}})
    errors = [
        {"pointer": "/a~1b/0", "message": "first"}, {"pointer": "/a~1b", "message": "second"},
        {"pointer": "/c~0d", "message": "third"}, {"pointer": "/unknown", "message": "fourth"},
        {"pointer": "", "message": "fifth"},
    ]  # fmt: skip
    assert errors_by_field(fields, errors) == (
        {"input.a/b": "first", "input.c~d": "third"},
        ["/a~1b: second", "/unknown: fourth", "fifth"],
    )
