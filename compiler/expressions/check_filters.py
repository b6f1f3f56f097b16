"""Checks of filters and tests: their names, and arguments where they can be seen."""

from __future__ import annotations

from typing import Any

from jinja2 import nodes

from compiler.diagnostics import closest
from compiler.expressions.dates import format_problem
from compiler.expressions.errors import ExpressionError
from compiler.expressions.filters import FILTERS, bound_arguments, signature_text
from compiler.expressions.predicates import COMPARISONS, TESTS
from compiler.expressions.tree import keywords_of


def check_filter(node: nodes.Filter) -> list[ExpressionError]:
    """Check one filter; return what is allowed syntax but cannot work.

    :raises ExpressionError: There is no such filter, or it takes other arguments.
    """
    if node.name not in FILTERS:
        raise _unknown("filter", node.name, list(FILTERS))
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        raise ExpressionError("expression_forbidden", "`*` and `**` are no arguments of a filter; write them out")
    if node.name == "map" and (node.args or not any(keyword.key == "attribute" for keyword in node.kwargs)):
        raise ExpressionError("expression_forbidden", "`map` reads an attribute: write `map(attribute='name')`")
    arguments = _arguments(node)
    return [*_attribute_problems(arguments.get("attribute")), *_own_problems(node.name, arguments)]


def check_test(node: nodes.Test) -> None:
    """Check one test of `is`.

    :raises ExpressionError: There is no such test, or it got arguments.
    """
    if node.name not in TESTS:
        raise _unknown("test", node.name, list(TESTS))
    if node.args or node.kwargs or node.dyn_args is not None or node.dyn_kwargs is not None:
        raise ExpressionError("expression_syntax", f"`is {node.name}` takes no argument; take it away")


def _arguments(node: nodes.Filter) -> dict[str, Any]:
    names = [keyword.key for keyword in node.kwargs]
    keywords = keywords_of(node)
    try:
        if len(names) != len(keywords):
            raise TypeError
        return bound_arguments(node.name, node.args, keywords)
    except TypeError:
        raise ExpressionError(
            "expression_syntax",
            f"`{node.name}` is written `{signature_text(node.name)}`; "
            f"got {len(node.args)} arguments and the names {names}",
        ) from None


def _attribute_problems(attribute: nodes.Expr | None) -> list[ExpressionError]:
    if not isinstance(attribute, nodes.Const) or not isinstance(attribute.value, str):
        return []
    if any(part.startswith("__") for part in attribute.value.split(".")):
        raise ExpressionError(
            "expression_forbidden", f"keys that begin with '__' are forbidden; got '{attribute.value}'"
        )
    return []


def _own_problems(name: str, arguments: dict[str, Any]) -> list[ExpressionError]:
    if name == "selectattr" and "test" in arguments:
        test = arguments["test"]
        if not isinstance(test, nodes.Const) or not isinstance(test.value, str):
            raise ExpressionError("expression_forbidden", "the test of `selectattr` must be a string such as 'eq'")
        if test.value not in (*TESTS, *COMPARISONS):
            raise _unknown("test", test.value, [*TESTS, *COMPARISONS])
    pattern = arguments.get("format") if name == "date" else None
    if isinstance(pattern, nodes.Const) and isinstance(pattern.value, str):
        problem = format_problem(pattern.value)
        return [ExpressionError("expression_forbidden", problem)] if problem else []
    return []


def _unknown(what: str, name: str, known: list[str]) -> ExpressionError:
    suggestion = {"d": "default", "count": "length"}.get(name) or closest(name, known)
    suggestion = suggestion if suggestion in known else None
    hint = f". Did you mean '{suggestion}'?" if suggestion else ""
    return ExpressionError(
        "expression_forbidden",
        f"the {what}s of the expression language are {', '.join(known)}; got '{name}'{hint}",
        suggestion,
    )
