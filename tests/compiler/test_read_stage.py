"""Stage read: strict JSON, whatever the bytes are."""

from __future__ import annotations

import json

import pytest

from compiler import compile_workflow, validate_workflow
from tests.compiler.building import as_bytes, codes, transform, workflow

pytestmark = pytest.mark.unit


def only(source: bytes | str) -> tuple[str, str, str]:
    (found,) = validate_workflow(source)
    return found.code, found.path, found.message


@pytest.mark.parametrize(
    "source",
    [
        b"",
        b"{",
        b"nope",
        b"{'id': 1}",
        b'{"id": "a",}',
        b'{"a": 1} {"b": 2}',
        b'"\\ud800"',
        b"1e400",
        b'\xff{"id": 1}',
        b"\xff\xfe{\x00}\x00",
        '{"id": "\udcff"}',
    ],
)
def test_broken_json(source: bytes | str) -> None:
    code, path, _ = only(source)
    assert (code, path) == ("invalid_json", "")


@pytest.mark.parametrize("source", ["[]", "1", '"text"', "null", "true"])
def test_no_object_at_the_top(source: str) -> None:
    code, path, message = only(source)
    assert (code, path) == ("invalid_json", "")
    assert "must be a JSON object" in message


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_constants_that_are_no_json(constant: str) -> None:
    code, _, message = only(f'{{"é": 1,\n "id": {constant}}}')
    assert code == "invalid_json"
    assert "line 2" in message
    assert f"JSON has no {constant.removeprefix('-')}" in message


def test_byte_order_mark() -> None:
    code, _, message = only(b"\xef\xbb\xbf" + as_bytes(workflow(transform("a"))))
    assert code == "invalid_json"
    assert "byte order mark" in message


def test_duplicate_key_is_reported_where_it_stands() -> None:
    text = json.dumps(workflow(transform("a"))).replace('"type": "transform"', '"type": "transform", "ty\\u0070e": "x"')
    assert ("invalid_json", "/tasks/0/type") in codes(text.encode())


def test_duplicate_keys_do_not_hide_other_problems() -> None:
    text = json.dumps(workflow(transform("a", next=["b"]))).replace('"name"', '"id": "flow", "name"')
    assert codes(text.encode()) == [("invalid_json", "/id"), ("unknown_task", "/tasks/0/next/0")]


def test_too_many_bytes() -> None:
    code, path, _ = only(as_bytes(workflow(transform("a", {"x": "y" * 1_000_000}))))
    assert (code, path) == ("limit_exceeded", "")


def test_a_megabyte_is_not_too_much() -> None:
    source = as_bytes(workflow(transform("a", {"x": ""})))
    filled = source.replace(b'{"x": ""}', b'{"x": "' + b"y" * (1_000_000 - len(source)) + b'"}')
    assert len(filled) == 1_000_000
    assert validate_workflow(filled) == []


def nested(depth: int) -> bytes:
    """A workflow whose deepest list is at the given depth; the value of ``x`` itself is at depth six."""
    lists = "[" * (depth - 5) + "]" * (depth - 5)
    return as_bytes(workflow(transform("a", {"x": "HERE"}))).replace(b'"HERE"', lists.encode())


def test_nesting() -> None:
    assert validate_workflow(nested(50)) == []
    code, path, _ = only(nested(51))
    assert code == "limit_exceeded"
    assert path == "/tasks/0/config/set/x" + "/0" * 45


@pytest.mark.parametrize("depth", [900, 1_100, 100_000])
@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_absurd_nesting(depth: int, opening: bytes) -> None:
    closing = b"]" if opening == b"[" else b"}"
    code, _, _ = only(opening * depth + b"1" + closing * depth)
    assert code == "limit_exceeded"


def test_text_is_taken_like_bytes() -> None:
    source = workflow(transform("a", {"x": "ü"}))
    by_text = compile_workflow(json.dumps(source, ensure_ascii=False), organization="acme")
    assert by_text.plan is not None
    assert by_text.digest == compile_workflow(json.dumps(source).encode(), organization="acme").digest
