"""The filters, by name. A filter's Python signature is its signature in the language."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from compiler.expressions import filters_of_lists, filters_of_numbers, filters_of_text
from compiler.expressions.budget import Budget
from compiler.expressions.dates import date
from compiler.expressions.values import Json

Filter = Callable[..., Json]


def default(budget: Budget, value: Json, default_value: Json = "", boolean: Json = False) -> Json:
    """Stand for a missing value, or with ``boolean`` for any falsy one. The evaluator handles the missing ones."""
    return default_value if boolean and not value else value


FILTERS: dict[str, Filter] = {
    "default": default,
    "length": filters_of_lists.length,
    "lower": filters_of_text.lower,
    "upper": filters_of_text.upper,
    "trim": filters_of_text.trim,
    "replace": filters_of_text.replace,
    "split": filters_of_text.split,
    "join": filters_of_lists.join,
    "first": filters_of_lists.first,
    "last": filters_of_lists.last,
    "sort": filters_of_lists.sort,
    "unique": filters_of_lists.unique,
    "sum": filters_of_lists.total,
    "min": filters_of_lists.minimum,
    "max": filters_of_lists.maximum,
    "round": filters_of_numbers.rounded,
    "int": filters_of_numbers.whole,
    "float": filters_of_numbers.real,
    "string": filters_of_text.string,
    "tojson": filters_of_text.tojson,
    "fromjson": filters_of_text.fromjson,
    "map": filters_of_lists.map_attribute,
    "selectattr": filters_of_lists.selectattr,
    "truncate": filters_of_text.truncate,
    "date": date,
}

_SIGNATURES = {name: inspect.signature(function) for name, function in FILTERS.items()}


def bound_arguments(name: str, args: list[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return a filter's arguments by the names of its parameters.

    :raises TypeError: The filter takes other arguments.
    """
    bound = _SIGNATURES[name].bind(None, None, *args, **kwargs)
    return dict(list(bound.arguments.items())[2:])


def signature_text(name: str) -> str:
    """Return how a filter is written, such as ``replace(old, new, count)``."""
    parameters = list(_SIGNATURES[name].parameters.values())[2:]
    if not parameters:
        return name
    words = [f"{p.name}=.." if p.kind is p.KEYWORD_ONLY else p.name for p in parameters]
    return f"{name}({', '.join(words)})"
