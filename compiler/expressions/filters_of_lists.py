"""Filters whose value is a list."""

from __future__ import annotations

from typing import Any

from compiler.expressions.arguments import want_list, want_number, want_text
from compiler.expressions.budget import MAX_DEPTH, Budget, too_deep
from compiler.expressions.errors import MissingError, failed
from compiler.expressions.lookup import attribute_path, read_path
from compiler.expressions.predicates import COMPARISONS, TESTS
from compiler.expressions.values import Json, budgeted_text, checked_number, is_number, type_name

_ABSENT = object()


def length(budget: Budget, value: Json) -> Json:
    """Return how many items a list, keys an object or characters a string has."""
    if isinstance(value, list | dict | str):
        return len(value)
    raise failed(f"`length` takes a list, an object or a string; got {type_name(value)}")


def first(budget: Budget, value: Json) -> Json:
    """Return the first item of a list or character of a string; an empty one has none."""
    return _item("first", value, 0)


def last(budget: Budget, value: Json) -> Json:
    """Return the last item of a list or character of a string; an empty one has none."""
    return _item("last", value, -1)


def _item(name: str, value: Json, index: int) -> Json:
    if not isinstance(value, list | str):
        raise failed(f"`{name}` takes a list or a string; got {type_name(value)}")
    if not value:
        raise MissingError(f"`{name}`: {type_name(value)} that is empty has none; write `| default(..)` after it")
    return value[index]


def join(budget: Budget, value: Json, separator: Json = "", attribute: Json = None) -> Json:
    """Return the texts of the items, or of an attribute of each, with ``separator`` between them."""
    items = want_list("join", value)
    between = want_text("join", separator, "the separator as a string")
    parts: list[str] = []
    size = 0
    for item in items:
        parts.append(budgeted_text(_attribute("join", item, attribute), budget))
        size += len(parts[-1]) + len(between)
        budget.fits(size)
    budget.spend_text(size)
    return between.join(parts)


def sort(
    budget: Budget, value: Json, reverse: Json = False, case_sensitive: Json = False, attribute: Json = None
) -> Json:
    """Return the list in order: all numbers or all strings, these without regard to case unless ``case_sensitive``."""
    items = want_list("sort", value)
    keys = _order_keys("sort", budget, items, case_sensitive, attribute)
    order = sorted(range(len(items)), key=keys.__getitem__, reverse=bool(reverse))
    return [items[index] for index in order]


def minimum(budget: Budget, value: Json, case_sensitive: Json = False, attribute: Json = None) -> Json:
    """Return the smallest item of a list of numbers or strings; an empty one has none."""
    items = want_list("min", value)
    keys = _order_keys("min", budget, items, case_sensitive, attribute)
    return items[min(range(len(items)), key=keys.__getitem__)] if items else _item("min", items, 0)


def maximum(budget: Budget, value: Json, case_sensitive: Json = False, attribute: Json = None) -> Json:
    """Return the greatest item of a list of numbers or strings; an empty one has none."""
    items = want_list("max", value)
    keys = _order_keys("max", budget, items, case_sensitive, attribute)
    return items[max(range(len(items)), key=keys.__getitem__)] if items else _item("max", items, 0)


def _order_keys(name: str, budget: Budget, items: list[Json], case_sensitive: Json, attribute: Json) -> list[Any]:
    keys: list[Any] = []
    size = 0
    for item in items:
        budget.spend()
        key = _attribute(name, item, attribute)
        if isinstance(key, str):
            budget.spend_text(len(key))
            size += len(key)
        keys.append(key if case_sensitive or not isinstance(key, str) else key.lower())
    # Sorting compares each string about log2(n) times.
    budget.spend(size * len(items).bit_length() // 1024)
    if not (all(is_number(key) for key in keys) or all(isinstance(key, str) for key in keys)):
        found = ", ".join(dict.fromkeys(type_name(key) for key in keys))
        raise failed(f"`{name}` takes a list of numbers or a list of strings; got {found}")
    return keys


def unique(budget: Budget, value: Json, case_sensitive: Json = False, attribute: Json = None) -> Json:
    """Return the list with only the first of equal items; strings without regard to case unless ``case_sensitive``."""
    seen: set[object] = set()
    result: list[Json] = []
    for item in want_list("unique", value):
        key = _identity(_attribute("unique", item, attribute), budget, bool(case_sensitive))
        if key not in seen:
            seen.add(key)
            result.append(item)
    return result


def _identity(value: Json, budget: Budget, case_sensitive: bool, depth: int = 0) -> object:
    """Return something hashable that is the same for values that are equal as JSON."""
    budget.spend()
    if depth > MAX_DEPTH:
        raise too_deep()
    if isinstance(value, str):
        budget.spend_text(len(value))
        return value if case_sensitive or depth else value.lower()
    if isinstance(value, list):
        return ("list", *[_identity(item, budget, case_sensitive, depth + 1) for item in value])
    if isinstance(value, dict):
        parts = {key: _identity(item, budget, case_sensitive, depth + 1) for key, item in value.items()}
        return ("object", frozenset(parts.items()))
    return ("number", value) if is_number(value) else (type_name(value), value)


def total(budget: Budget, value: Json, attribute: Json = None, start: Json = 0) -> Json:
    """Return the sum of a list of numbers, or of an attribute of each item."""
    result = want_number("sum", start)
    for item in want_list("sum", value):
        budget.spend()
        number = want_number("sum", _attribute("sum", item, attribute))
        try:
            result = checked_number(result + number, "`sum`")
        except OverflowError:
            raise failed("`sum`: a number must be finite; this one is too large") from None
    return result


def map_attribute(budget: Budget, value: Json, *, attribute: Json, default: Any = _ABSENT) -> Json:
    """Return an attribute of each item; ``default`` for the items that have none."""
    path = attribute_path("map", attribute)
    result: list[Json] = []
    for item in want_list("map", value):
        budget.spend(len(path))
        try:
            result.append(read_path(item, path, f"map(attribute={attribute!r})"))
        except MissingError:
            if default is _ABSENT:
                raise
            result.append(default)
    return result


def selectattr(budget: Budget, value: Json, attribute: Json, test: Json = None, other: Json = None) -> Json:
    """Return the items whose attribute is true, or passes a test; an item without the attribute does not."""
    path = attribute_path("selectattr", attribute)
    result: list[Json] = []
    for item in want_list("selectattr", value):
        budget.spend(len(path))
        try:
            found = read_path(item, path, f"selectattr({attribute!r})")
        except MissingError:
            continue
        if _passes(budget, found, test, other):
            result.append(item)
    return result


def _passes(budget: Budget, value: Json, test: Json, other: Json) -> bool:
    if test is None:
        return bool(value)
    if isinstance(test, str) and test in COMPARISONS:
        return COMPARISONS[test](value, other, budget)
    if isinstance(test, str) and test in TESTS:
        return TESTS[test](value)
    raise failed(f"`selectattr` takes one of the tests {', '.join([*TESTS, *COMPARISONS])}")


def _attribute(name: str, item: Json, attribute: Json) -> Json:
    if attribute is None:
        return item
    return read_path(item, attribute_path(name, attribute), f"{name}(attribute={attribute!r})")
