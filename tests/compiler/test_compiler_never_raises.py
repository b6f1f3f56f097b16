"""Whatever a file holds, the compiler answers diagnostics that point at places that exist."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compiler import compile_workflow, validate_workflow
from compiler.diagnostics import Code, Diagnostic, has_errors

pytestmark = pytest.mark.unit

TESTS = Path(__file__).parents[1]
VALID: list[Any] = [json.loads((TESTS / "golden" / "order_desk.json").read_text())]
VALID += [json.loads(path.read_text())["workflow"] for path in sorted((TESTS / "workflows").glob("*.json"))]

leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
words = st.sampled_from(
    ["a", "b", "id", "type", "config", "tasks", "transform", "conditional", "map", "{{ a.output.x }}", "{{ 1 + }}",
     "{% for i in input %}{{ i }}{% endfor %}", "5m", "$..x", "webhook", "trigger", "if", "then", "goto", "$ref", "#"],
)  # fmt: skip
values = st.recursive(
    leaves | words,
    lambda child: st.lists(child, max_size=4) | st.dictionaries(words | st.text(max_size=5), child, max_size=4),
    max_leaves=20,
)


def value_at(document: Any, path: str) -> Any:
    """Follow a pointer; raise LookupError where it leads nowhere."""
    for part in path.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        document = document[int(key)] if isinstance(document, list) else document[key]
    return document


def check(source: bytes) -> list[Diagnostic]:
    """Validate and compile, and check what must hold for the answers to any file."""
    found = validate_workflow(source)
    compilation = compile_workflow(source, organization="acme")
    assert (compilation.plan is None) == has_errors(compilation.diagnostics)
    assert bool(compilation.files) == (compilation.plan is not None)
    assert [(d.code, d.path) for d in found] == [(d.code, d.path) for d in compilation.diagnostics]
    for diagnostic in found:
        assert diagnostic.code in get_args(Code)
        assert diagnostic.severity in ("error", "warning")
        assert diagnostic.message
        json.dumps(diagnostic.as_json()).encode()
        if diagnostic.path:
            value_at(json.loads(source), diagnostic.path)
    return found


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(source: bytes) -> None:
    check(source)


@settings(max_examples=300, deadline=None)
@given(values)
def test_any_json(value: Any) -> None:
    check(json.dumps(value).encode())


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all values in a document."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in children for place in places(child, (*path, key)))]


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """Draw a valid workflow in which a few values are replaced, removed, renamed or copied."""
    document = {"root": copy.deepcopy(draw(st.sampled_from(VALID)))}
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from([place for place in places(document) if place]))
        container = document
        for key in path[:-1]:
            container = container[key]
        action = draw(st.sampled_from(["replace", "remove", "add", "move"]))
        if action == "replace":
            container[path[-1]] = draw(values)
        elif action == "remove" and len(path) > 1:
            del container[path[-1]]
        elif action == "add" and isinstance(container, dict):
            container[draw(words | st.text(max_size=8))] = draw(values)
        elif action == "move":
            other = draw(st.sampled_from(places(document)))
            value: Any = document
            for key in other:
                value = value[key]
            container[path[-1]] = copy.deepcopy(value)
    return document.get("root", document)


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutated())
def test_mutations_of_valid_workflows(document: Any) -> None:
    check(json.dumps(document).encode())


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(VALID), st.data())
def test_cut_and_changed_bytes(document: Any, data: st.DataObject) -> None:
    source = bytearray(json.dumps(document).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(source) - 1))
        source[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        if not source:
            break
    found = validate_workflow(bytes(source))
    assert found is not None
