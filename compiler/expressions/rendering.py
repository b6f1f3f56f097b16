"""Rendering of whole JSON values: every string with an expression in it is evaluated."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic_core import to_json

from compiler.expressions.budget import MAX_DEPTH, MAX_OUTPUT_BYTES, Budget, too_deep
from compiler.expressions.errors import EvaluationError
from compiler.expressions.evaluator import evaluate
from compiler.expressions.template import has_expression, parse
from compiler.expressions.values import Json, is_nested_deeper

# Each string has a budget of its own; this bounds what all strings of one value make together.
MAX_RENDERED_BYTES = 16 * MAX_OUTPUT_BYTES
MAX_HANDED_ON_BYTES = 64 * MAX_OUTPUT_BYTES
"""Of the large values in one rendered value that are there already and only handed on."""


def render(value: Json, scope: Mapping[str, Json], *, hands_on: bool = False) -> Json:
    """Return a new value with every string that has an expression evaluated; keys of objects stay as they are.

    What an expression gives is data: expressions inside it are not evaluated again.

    :param hands_on: Whether a string that is nothing but a reference may give more than an evaluation may make: the
        value is there already.
    :raises ExpressionError: A string is not of the expression language (a compiled plan has none such).
    :raises EvaluationError: An expression fails, or all of them together make more than 16 MB, or hand on more than
        64 MB.
    """
    return _Rendering(scope, hands_on).render(value, 0)


def render_condition(text: str, scope: Mapping[str, Json]) -> bool:
    """Return the truth of one expression, as a condition's ``if`` asks for it; errors as in :func:`render`."""
    return bool(evaluate(parse(text), scope))


class _Rendering:
    def __init__(self, scope: Mapping[str, Json], hands_on: bool) -> None:
        self._scope = scope
        self._hands_on = hands_on
        self._handed_on_left = MAX_HANDED_ON_BYTES
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
        budget, template = Budget(), parse(text)
        try:
            result = evaluate(template, self._scope, budget)
        except EvaluationError as error:
            if not (self._hands_on and error.code == "expression_budget" and template.is_reference):
                raise
            return self._handed_on(evaluate(template, self._scope, measured=False), error)
        self._bytes_left -= MAX_OUTPUT_BYTES - budget.output_left
        if self._bytes_left < 0:
            raise EvaluationError(
                "expression_budget", f"the expressions of one value may produce {MAX_RENDERED_BYTES:,} bytes together"
            )
        return result

    def _handed_on(self, value: Json, error: EvaluationError) -> Json:
        """Return a large value that a reference names.

        :raises EvaluationError: It is not large but deep; or all that is handed on is too much.
        """
        try:
            size = len(to_json(value, inf_nan_mode="constants"))
        except ValueError:
            raise error from None
        if size <= MAX_OUTPUT_BYTES:
            raise error
        if is_nested_deeper(value, MAX_DEPTH):
            raise too_deep()
        self._handed_on_left -= size
        if self._handed_on_left < 0:
            message = f"the references of one value may hand on {MAX_HANDED_ON_BYTES:,} bytes together"
            raise EvaluationError("expression_budget", message)
        return value
