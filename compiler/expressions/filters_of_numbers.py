"""Filters that give a number."""

from __future__ import annotations

import math
import re

from compiler.expressions.arguments import want_number, want_whole
from compiler.expressions.budget import Budget
from compiler.expressions.errors import failed
from compiler.expressions.values import Json, Number, checked_number, is_number

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_LONGEST_NUMBER = 400
_MOST_DIGITS = 20


def rounded(budget: Budget, value: Json, precision: Json = 0, method: Json = "common") -> Json:
    """Return the number rounded to ``precision`` decimals; ``method`` is ``common``, ``ceil`` or ``floor``.

    A half goes to the even neighbour. A number with decimals stays one (``2.0``); ``int`` makes it whole.
    """
    number = want_number("round", value)
    digits = want_whole("round", "the precision", precision, -_MOST_DIGITS, _MOST_DIGITS)
    if method not in ("common", "ceil", "floor"):
        raise failed("`round` takes 'common', 'ceil' or 'floor' as its method")
    toward = math.ceil if method == "ceil" else math.floor
    try:
        if method == "common":
            return checked_number(round(number, digits), "`round`")
        return checked_number(toward(number * 10**digits) / 10**digits, "`round`")
    except (OverflowError, ValueError):
        raise failed("`round`: a number must be finite; this one is too large") from None


def whole(budget: Budget, value: Json, default: Json = 0) -> Json:
    """Return the whole number of a number, boolean or string, its decimals cut off; ``default`` where there is none."""
    number = _read(budget, value)
    if number is None:
        return default
    try:
        return checked_number(int(number), "`int`")
    except (OverflowError, ValueError):
        return default


def real(budget: Budget, value: Json, default: Json = 0.0) -> Json:
    """Return the number of a number, boolean or string with decimals; ``default`` where there is none."""
    number = _read(budget, value)
    if number is None:
        return default
    try:
        result = float(number)
    except OverflowError:
        return default
    return result if math.isfinite(result) else default


def _read(budget: Budget, value: Json) -> Number | None:
    if isinstance(value, bool):
        return int(value)
    if is_number(value):
        return value
    if not isinstance(value, str):
        return None
    budget.spend_text(len(value))
    text = value.strip()
    if len(text) > _LONGEST_NUMBER or not _NUMBER.fullmatch(text):
        return None
    return int(text) if text.lstrip("+-").isdigit() else float(text)
