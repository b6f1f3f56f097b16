"""JSON values: their names in messages, truth, equality, order, size and text."""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Callable
from typing import Any, TypeAlias, TypeGuard

from pydantic import JsonValue

from compiler.expressions.budget import MAX_DEPTH, Budget, too_deep
from compiler.expressions.errors import failed

Json: TypeAlias = JsonValue
Number: TypeAlias = int | float

# The whole numbers that JSON writers and databases agree on: 64 bits, signed or unsigned.
MIN_INTEGER = -(2**63)
MAX_INTEGER = 2**64 - 1

# Walking over a part of a value takes about an eighth of the time of a node of an expression.
_PARTS_PER_OPERATION = 8

ORDERINGS: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "lt": ("<", operator.lt),
    "lteq": ("<=", operator.le),
    "gt": (">", operator.gt),
    "gteq": (">=", operator.ge),
}


def is_number(value: object) -> TypeGuard[Number]:
    """Tell whether the value is a number; a boolean is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def type_name(value: object) -> str:
    """Return the JSON type of a value as messages call it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if is_number(value):
        return "a number"
    for known, name in ((str, "a string"), (list, "a list"), (dict, "an object")):
        if isinstance(value, known):
            return name
    return "no JSON value"


def checked_number(value: Number, what: str) -> Number:
    """Return the number if JSON can hold it.

    :raises EvaluationError: It is not finite, or a whole number of more than 64 bits.
    """
    if isinstance(value, float):
        if not math.isfinite(value):
            raise failed(f"{what}: a number must be finite; this one is too large")
    elif not MIN_INTEGER <= value <= MAX_INTEGER:
        raise failed(f"{what}: a whole number must fit in 64 bits; this one is too large")
    return value


def equal(left: Json, right: Json, budget: Budget, depth: int = 0) -> bool:
    """Tell whether two values are the same JSON: ``1 == 1.0``, ``true != 1``, lists and objects by content."""
    budget.spend()
    if depth > MAX_DEPTH:
        raise too_deep()
    if is_number(left) and is_number(right):
        return left == right
    if isinstance(left, str) and isinstance(right, str):
        budget.spend_text(min(len(left), len(right)))
        return left == right
    if isinstance(left, list) and isinstance(right, list):
        if len(left) != len(right):
            return False
        return all(equal(a, b, budget, depth + 1) for a, b in zip(left, right, strict=True))
    if isinstance(left, dict) and isinstance(right, dict):
        if left.keys() != right.keys():
            return False
        return all(equal(value, right[key], budget, depth + 1) for key, value in left.items())
    # What is left are null and booleans, each the same only as itself, and unlike types.
    return left is right


def ordered(name: str, left: Json, right: Json, budget: Budget) -> bool:
    """Compare two numbers or two strings; ``name`` is one of ``ORDERINGS``.

    :raises EvaluationError: The values have no order.
    """
    symbol, compare = ORDERINGS[name]
    if is_number(left) and is_number(right):
        return compare(left, right)
    if isinstance(left, str) and isinstance(right, str):
        budget.spend_text(min(len(left), len(right)))
        return compare(left, right)
    raise failed(f"`{symbol}` compares two numbers or two strings; got {type_name(left)} and {type_name(right)}")


def contains(container: Json, item: Json, budget: Budget) -> bool:
    """Tell whether a list has the item, an object the key, or a string the substring.

    :raises EvaluationError: The right side cannot contain the left.
    """
    if isinstance(container, list):
        return any(equal(item, element, budget) for element in container)
    if isinstance(item, str) and isinstance(container, dict):
        return item in container
    if isinstance(item, str) and isinstance(container, str):
        budget.spend_text(len(container))
        return item in container
    raise failed(
        "`in` looks for a value in a list, a key in an object or a string in a string; "
        f"got {type_name(item)} in {type_name(container)}"
    )


def measure(value: Json, count: Callable[[int], None], depth: int = 0) -> None:
    """Call ``count`` with the bytes of each part of the value's JSON, so that it can stop the walk by raising.

    :raises EvaluationError: The value is nested too deep or is not JSON.
    """
    if depth > MAX_DEPTH:
        raise too_deep()
    if isinstance(value, str):
        count(byte_length(value) + 2)
    elif isinstance(value, dict):
        count(2)
        for key, item in value.items():
            if not isinstance(key, str):
                raise failed("the keys of an object must be strings")
            count(byte_length(key) + 4)
            measure(item, count, depth + 1)
    elif isinstance(value, list):
        count(2)
        for item in value:
            count(1)
            measure(item, count, depth + 1)
    else:
        count(_scalar_length(value))


def byte_length(text: str) -> int:
    """Return the bytes of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _scalar_length(value: Json) -> int:
    if value is None or isinstance(value, bool):
        return 5
    if not is_number(value):
        raise failed("the result must be JSON; got a value that is none")
    checked_number(value, "the result")
    return len(repr(value))


def json_text(value: Json, budget: Budget) -> str:
    """Return the value as compact JSON with its key order kept, at the cost of its length.

    :raises EvaluationError: The value is too large or nested too deep.
    """
    # Measured first, so that no large text is ever made.
    size = parts = 0

    def count(part: int) -> None:
        nonlocal size, parts
        size += part
        parts += 1
        budget.fits(size)

    measure(value, count)
    budget.spend(parts // _PARTS_PER_OPERATION)
    budget.spend_text(size)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def budgeted_text(value: Json, budget: Budget) -> str:
    """Return the text of a value (see :func:`text_of`), at the cost of its length."""
    if isinstance(value, str):
        budget.spend_text(len(value))
        return value
    return json_text(value, budget)


def text_of(value: Json) -> str:
    """Return the text of a value: a string as it is, all else compact JSON with key order kept.

    :raises EvaluationError: The value is too large (1 MB), nested too deep (50) or not JSON.
    """
    return budgeted_text(value, Budget())


def is_nested_deeper(value: Json, depth: int) -> bool:
    """Tell whether lists and objects are nested deeper than this; a list of plain values has the depth 1."""
    level = [value]
    for _ in range(depth + 1):
        level = [child for item in level for child in _containers(item)]
        if not level:
            return False
    return True


def _containers(value: Json) -> list[Json]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [child for child in inner if isinstance(child, dict | list)]
