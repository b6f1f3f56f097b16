"""Rendering of whole JSON values: every string with an expression in it is evaluated."""

from __future__ import annotations

from collections.abc import Mapping

from compiler.expressions.budget import MAX_DEPTH, MAX_OUTPUT_BYTES, Budget, too_deep
from compiler.expressions.errors import EvaluationError
from compiler.expressions.evaluator import evaluate
from compiler.expressions.template import has_expression, parse
from compiler.expressions.values import Json

# Each string has a budget of its own; this bounds what all strings of one value make together.
MAX_RENDERED_BYTES = 16 * MAX_OUTPUT_BYTES


def render(value: Json, scope: Mapping[str, Json]) -> Json:
    """Return a new value with every string that has an expression evaluated; keys of objects stay as they are.

    What an expression gives is data: expressions inside it are not evaluated again.

    :raises ExpressionError: A string is not of the expression language (a compiled plan has none such).
    :raises EvaluationError: An expression fails, or all of them together make more than 16 MB.
    """
    return _Rendering(scope).render(value, 0)


def render_condition(text: str, scope: Mapping[str, Json]) -> bool:
    """Return the truth of one expression, as a condition's ``if`` asks for it; errors as in :func:`render`."""
    return bool(evaluate(parse(text), scope))


class _Rendering:
    def __init__(self, scope: Mapping[str, Json]) -> None:
        self._scope = scope
        self._bytes_left = MAX_RENDERED_BYTES

    def render(self, value: Json, depth: int) -> Json:
        if depth > MAX_DEPTH:
            raise too_deep()
        if isinstance(value, str):
            return self._evaluate(value) if has_expression(value) else value
        if isinstance(value, list):
            return [self.render(item, depth + 1) for item in value]
        if isinstance(value, dict):
            return {key: self.render(item, depth + 1) for key, item in value.items()}
        return value

    def _evaluate(self, text: str) -> Json:
        budget = Budget()
        result = evaluate(parse(text), self._scope, budget)
        self._bytes_left -= MAX_OUTPUT_BYTES - budget.output_left
        if self._bytes_left < 0:
            raise EvaluationError(
                "expression_budget", f"the expressions of one value may produce {MAX_RENDERED_BYTES:,} bytes together"
            )
        return result
