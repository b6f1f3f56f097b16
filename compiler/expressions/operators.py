"""Arithmetic on JSON values."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from jinja2 import nodes

from compiler.expressions.budget import Budget
from compiler.expressions.errors import failed
from compiler.expressions.kinds import ARITHMETIC
from compiler.expressions.values import Json, checked_number, is_number, type_name

_FUNCTIONS: dict[type[nodes.Node], Callable[[Any, Any], Any]] = {
    nodes.Sub: operator.sub,
    nodes.Mul: operator.mul,
    nodes.Div: operator.truediv,
    nodes.FloorDiv: operator.floordiv,
    nodes.Mod: operator.mod,
}


def add(left: Json, right: Json, budget: Budget) -> Json:
    """Return ``left + right`` of two numbers, two strings or two lists.

    :raises EvaluationError: The operands are of other types, or the result is too large.
    """
    if is_number(left) and is_number(right):
        return _calculated("+", operator.add, left, right)
    if isinstance(left, str) and isinstance(right, str):
        budget.spend_text(len(left) + len(right))
        return left + right
    if isinstance(left, list) and isinstance(right, list):
        budget.spend(len(left) + len(right))
        return left + right
    raise failed(f"`+` takes two numbers, two strings or two lists; got {type_name(left)} and {type_name(right)}")


def calculate(kind: type[nodes.Node], left: Json, right: Json) -> Json:
    """Return the result of ``-``, ``*``, ``/``, ``//`` or ``%``.

    :raises EvaluationError: An operand is no number, the divisor is zero, or the result is too large.
    """
    sign = ARITHMETIC[kind]
    if is_number(left) and is_number(right):
        return _calculated(sign, _FUNCTIONS[kind], left, right)
    raise failed(f"`{sign}` takes two numbers; got {type_name(left)} and {type_name(right)}")


def signed(kind: type[nodes.Node], value: Json) -> Json:
    """Return ``-value`` or ``+value``.

    :raises EvaluationError: The value is no number.
    """
    sign = "-" if kind is nodes.Neg else "+"
    if is_number(value):
        return checked_number(-value if kind is nodes.Neg else value, f"`{sign}`")
    raise failed(f"`{sign}` takes a number; got {type_name(value)}")


def _calculated(sign: str, function: Callable[[Any, Any], Any], left: Json, right: Json) -> Json:
    try:
        result = function(left, right)
    except ZeroDivisionError:
        raise failed(f"`{sign}`: the divisor is zero") from None
    except OverflowError:
        raise failed(f"`{sign}`: a number must be finite; this one is too large") from None
    return checked_number(result, f"`{sign}`")
