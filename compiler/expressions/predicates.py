"""The tests behind ``is``, and the comparisons that ``selectattr`` knows by name."""

from __future__ import annotations

from collections.abc import Callable

from compiler.expressions.budget import Budget
from compiler.expressions.errors import failed
from compiler.expressions.values import Json, contains, equal, is_number, ordered, type_name

Comparison = Callable[[Json, Json, Budget], bool]


def is_even(value: Json) -> bool:
    """Tell whether a whole number is even."""
    return _whole("even", value) % 2 == 0


def is_odd(value: Json) -> bool:
    """Tell whether a whole number is odd."""
    return _whole("odd", value) % 2 == 1


def _whole(name: str, value: Json) -> int:
    if is_number(value) and (isinstance(value, int) or value.is_integer()):
        return int(value)
    raise failed(f"`is {name}` asks about a whole number; got {type_name(value)}")


# `defined` is answered by the evaluator; what is asked here has a value.
TESTS: dict[str, Callable[[Json], bool]] = {
    "defined": lambda value: True,
    "none": lambda value: value is None,
    "string": lambda value: isinstance(value, str),
    "number": is_number,
    "mapping": lambda value: isinstance(value, dict),
    "sequence": lambda value: isinstance(value, list),
    "even": is_even,
    "odd": is_odd,
}


def _equal(left: Json, right: Json, budget: Budget) -> bool:
    return equal(left, right, budget)


def _unequal(left: Json, right: Json, budget: Budget) -> bool:
    return not equal(left, right, budget)


def _ordering(name: str) -> Comparison:
    return lambda left, right, budget: ordered(name, left, right, budget)


COMPARISONS: dict[str, Comparison] = {
    **dict.fromkeys(("eq", "==", "equalto"), _equal),
    **dict.fromkeys(("ne", "!="), _unequal),
    **dict.fromkeys(("lt", "<", "lessthan"), _ordering("lt")),
    **dict.fromkeys(("le", "<="), _ordering("lteq")),
    **dict.fromkeys(("gt", ">", "greaterthan"), _ordering("gt")),
    **dict.fromkeys(("ge", ">="), _ordering("gteq")),
    "in": lambda left, right, budget: contains(right, left, budget),
}
