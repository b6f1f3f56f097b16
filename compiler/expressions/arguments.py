"""Checks of what a filter is given; every error names the filter, the rule and what it got."""

from __future__ import annotations

from compiler.expressions.errors import failed
from compiler.expressions.values import Json, Number, is_number, type_name


def want_text(name: str, value: Json, what: str = "a string") -> str:
    """Return the value if it is a string.

    :raises EvaluationError: It is none.
    """
    if isinstance(value, str):
        return value
    hint = "; write `| string` before it" if what == "a string" and value is not None else ""
    raise failed(f"`{name}` takes {what}; got {type_name(value)}{hint}")


def want_list(name: str, value: Json) -> list[Json]:
    """Return the value if it is a list.

    :raises EvaluationError: It is none.
    """
    if isinstance(value, list):
        return value
    raise failed(f"`{name}` takes a list; got {type_name(value)}")


def want_number(name: str, value: Json) -> Number:
    """Return the value if it is a number.

    :raises EvaluationError: It is none.
    """
    if is_number(value):
        return value
    raise failed(f"`{name}` takes a number; got {type_name(value)}")


def want_whole(name: str, what: str, value: Json, least: int, most: int) -> int:
    """Return an argument if it is a whole number between ``least`` and ``most``.

    :raises EvaluationError: It is none.
    """
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    raise failed(f"`{name}` takes {what} as a whole number from {least:,} to {most:,}; got {type_name(value)}")
