"""Differences of two JSON values."""

from __future__ import annotations

from typing import Any

import pytest

from api.executions.comparison import MAX_DIFFERENCES, compare_values

pytestmark = pytest.mark.unit


def differences(left: Any, right: Any) -> list[tuple[str, str]]:
    compared = compare_values(left, right)
    assert compared.complete
    assert compared.same is not bool(compared.differences)
    return [(each.pointer, each.kind) for each in compared.differences]


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (None, None, []),
        ({"a": 1, "b": [1, {"c": None}]}, {"b": [1, {"c": None}], "a": 1.0}, []),
        (1, True, [("", "changed")]),
        (0, False, [("", "changed")]),
        ({"a": None}, {}, [("/a", "removed")]),
        ({}, {"a": None}, [("/a", "added")]),
        ({"a/b": {"~": 1}}, {"a/b": {"~": 2}}, [("/a~1b/~0", "changed")]),
        ([1, 2, 3], [1, 4], [("/1", "changed"), ("/2", "removed")]),
        ({"a": [1]}, {"a": {"0": 1}}, [("/a", "changed")]),
        ("", None, [("", "changed")]),
    ],
)
def test_places(left: Any, right: Any, expected: list[tuple[str, str]]) -> None:
    assert differences(left, right) == expected


def test_large_values_are_told_by_their_size() -> None:
    (difference,) = compare_values({"a": "x" * 300}, {"a": "y"}).differences
    assert (difference.left, difference.left_bytes, difference.right, difference.right_bytes) == (None, 302, "y", None)


def test_bounded() -> None:
    compared = compare_values(list(range(1000)), list(range(1, 1001)))
    assert len(compared.differences) == MAX_DIFFERENCES
    assert (compared.same, compared.complete) == (False, False)


def test_what_was_not_looked_at_is_not_called_the_same() -> None:
    huge = [0] * 300_000
    compared = compare_values(huge, huge)
    assert (compared.same, compared.complete) == (None, False)


def test_deep_values() -> None:
    left: Any = 1
    right: Any = 2
    for _ in range(5_000):
        left, right = [left], [right]
    (difference,) = compare_values(left, right).differences
    assert difference.pointer == "/0" * 5_000
