"""The expression language: Jinja's syntax, read by Jinja's parser, evaluated by our own walk over JSON values."""

from __future__ import annotations

from compiler.expressions.budget import Budget
from compiler.expressions.errors import EvaluationError, ExpressionError
from compiler.expressions.evaluator import evaluate
from compiler.expressions.kinds import Kind
from compiler.expressions.lookup import Withheld
from compiler.expressions.rendering import render, render_condition
from compiler.expressions.template import Template, has_expression, parse
from compiler.expressions.uses import Reference, Use
from compiler.expressions.values import Json, text_of

__all__ = [
    "Budget",
    "EvaluationError",
    "ExpressionError",
    "Json",
    "Kind",
    "Reference",
    "Template",
    "Use",
    "Withheld",
    "evaluate",
    "has_expression",
    "parse",
    "render",
    "render_condition",
    "text_of",
]
