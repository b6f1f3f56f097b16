"""Parts of JSON as they are written."""

from __future__ import annotations

import json

import pytest

from api.json_text import Path, member, replace

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"workflow":{}}', b"{}"),
        (b' {\n"a" : "}{\\"" , "workflow" :\t[1, {"workflow": 2}] } ', b'[1, {"workflow": 2}]'),
        (b'{"workflow":1,"workflow":2}', b"2"),
        (b'{"w\\u006frkflow":"\\u00e9 \xc3\xa9"}', b'"\\u00e9 \xc3\xa9"'),
        (b'{"workflow":' + b"9" * 5_000 + b"}", b"9" * 5_000),
        (b"{}", None),
    ],
)
def test_member(body: bytes, value: bytes | None) -> None:
    assert member(body, "workflow") == value


@pytest.mark.parametrize(
    ("body", "values", "result"),
    [
        (b'{"id": "a", "n": 1.50}', {("id",): "b"}, b'{"id": "b", "n": 1.50}'),
        (b' { "id" : 7 } ', {("id",): "b"}, b' { "id" : "b" } '),
        (b'{"id": 1, "id": 2}', {("id",): "b"}, b'{"id": 1, "id": "b"}'),
        (b'{"a": {"id": 1}, "id": 1}', {("id",): "b"}, b'{"a": {"id": 1}, "id": "b"}'),
        (b'{"a": [0, {"b": "x"}, 2]}', {("a", 1, "b"): "y"}, b'{"a": [0, {"b": "y"}, 2]}'),
        (b'{"a": 1, "b": 2}', {("b",): "long", ("a",): "longer"}, b'{"a": "longer", "b": "long"}'),
        (b'{"a": "\\u00e9}"}', {("a",): 'q"\u00e9\n'}, '{"a": "q\\"\u00e9\\n"}'.encode()),
        (b"{}", {("id",): "b", ("name",): "n"}, b'{"id": "b", "name": "n"}'),
        (b'{\n "a": 1}', {("id",): "b"}, b'{"id": "b", \n "a": 1}'),
        (b'{"a": 1}', {("a", "b"): "x", ("a", 0): "x", ("c", "d"): "x"}, b'{"a": 1}'),
        (b'{"a": []}', {("a", 0): "x"}, b'{"a": []}'),
        (b'{"a": ' + b"9" * 5_000 + b', "id": 1}', {("id",): "b"}, b'{"a": ' + b"9" * 5_000 + b', "id": "b"}'),
    ],
)
def test_replace(body: bytes, values: dict[Path, str], result: bytes) -> None:
    assert replace(body, values) == result
    json.loads(result, parse_int=str)
