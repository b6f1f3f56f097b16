"""Values against a tenant's JSON Schemas: what the library says, with bounded work."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from compiler.matching import BadPatternError, BoundedValidator, TooMuchWorkError, pattern_problem

pytestmark = pytest.mark.unit

TREE = {
    "type": "object",
    "properties": {"name": {"type": "string", "pattern": "^[a-z]+$"}, "left": {"$ref": "#"}, "right": {"$ref": "#"}},
    "patternProperties": {"^x-": {"type": "integer"}},
    "additionalProperties": False,
}
LISTS = {"type": "array", "uniqueItems": True, "items": {"anyOf": [{"type": "integer"}, {"type": "array"}]}}
OTHERS = {"additionalProperties": {"type": "number", "minimum": 3}, "properties": {"a": True}}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, 1.0, 2.5, "a", "A", ""]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["name", "left", "right", "x-a", "other", "a"]), inner, max_size=4)
    ),
    max_leaves=12,
)


def doubling(depth: int) -> dict[str, Any]:
    """A schema that looks twice at a value, and twice at what is in it, ``depth`` times."""
    twice = {"allOf": [{"$ref": "#/$defs/next"}, {"$ref": "#/$defs/next"}]}
    return {"$defs": {"next": {"properties": {"a": twice}}}, **twice}


@pytest.mark.parametrize("schema", [TREE, LISTS, OTHERS], ids=["tree", "lists", "others"])
@given(value=VALUES)
def test_agrees_with_the_library(schema: dict[str, Any], value: Any) -> None:
    found = BoundedValidator(schema).mismatches(value, 1000)
    expected = list(Draft202012Validator(schema).iter_errors(value))
    assert sorted(map(str, (each.path for each in found))) == sorted(
        str(tuple(each.absolute_path)) for each in expected
    )


class TestBounds:
    def test_a_pattern_that_goes_back_and_forth(self) -> None:
        """Python's own search for it would not end before the sun does."""
        validator = BoundedValidator({"type": "string", "pattern": "^(a+)+$"})
        assert validator.best_mismatch("a" * 5_000) is None
        found = validator.best_mismatch("a" * 5_000 + "!")
        assert found is not None
        assert found.message.endswith("does not match '^(a+)+$'")

    @pytest.mark.parametrize("place", ["patternProperties", "additionalProperties"])
    def test_such_a_pattern_of_names(self, place: str) -> None:
        schema: dict[str, Any] = {"patternProperties": {"^(a+)+$": False}, "additionalProperties": False}
        if place == "patternProperties":
            del schema["additionalProperties"]
        name = "a" * 5_000 + "!"
        assert (BoundedValidator(schema).best_mismatch({name: 1}) is None) is (place == "patternProperties")

    def test_references_that_double(self) -> None:
        value: Any = 1
        for _ in range(40):
            value = {"a": value}
        with pytest.raises(TooMuchWorkError, match="more than 250,000 checks"):
            BoundedValidator(doubling(40)).best_mismatch(value)

    def test_messages_that_quote_a_large_value(self) -> None:
        schema = {"anyOf": [{"type": "string"}] * 900}
        with pytest.raises(TooMuchWorkError):
            BoundedValidator(schema).best_mismatch(["x" * 100_000])

    def test_many_different_items(self) -> None:
        items = [[number, "x", {"a": number}] for number in range(20_000)]
        assert BoundedValidator({"uniqueItems": True}).best_mismatch(items) is None
        assert BoundedValidator({"uniqueItems": True}).best_mismatch([*items, items[7]]) is not None

    def test_deeper_than_the_interpreter_goes(self) -> None:
        value: Any = 1
        for _ in range(2_000):
            value = [value]
        with pytest.raises(TooMuchWorkError):
            BoundedValidator({"items": {"$ref": "#"}}).best_mismatch(value)

    def test_an_ordinary_value_is_no_work(self) -> None:
        rows = [{"name": "abc", "x-a": number} for number in range(10_000)]
        assert BoundedValidator({"items": TREE}).best_mismatch(rows) is None

    def test_the_rest_of_the_budget_is_nobodys(self) -> None:
        """Each value has a budget of its own."""
        validator = BoundedValidator({"items": {"type": "integer"}})
        for _ in range(3):
            assert validator.mismatches([1] * 60, most=5, steps=70) == []


@pytest.mark.parametrize(
    ("pattern", "word"),
    [("(?=a)", "look-around"), (r"(a)\1", "back-references"), ("a" * 1_001, "1,000 characters"), ("(", "RE2")],
)
def test_patterns_that_are_refused(pattern: str, word: str) -> None:
    problem = pattern_problem(pattern)
    assert problem is not None
    assert word in problem


@pytest.mark.parametrize("pattern", ["^a+$", r"\p{L}+", r"\d{4}-\d{2}", ""])
def test_patterns_that_are_taken(pattern: str) -> None:
    assert pattern_problem(pattern) is None


@pytest.mark.parametrize("keywords", [{"pattern": "(?=a)"}, {"items": {"patternProperties": {"(?=a)": True}}}])
def test_a_pattern_of_an_earlier_version_says_so(keywords: dict[str, Any]) -> None:
    value: Any = "a" if "pattern" in keywords else [{"a": 1}]
    with pytest.raises(BadPatternError, match="publish the workflow with another"):
        BoundedValidator(keywords).best_mismatch(value)
