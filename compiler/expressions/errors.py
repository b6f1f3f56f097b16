"""The two ways an expression fails: when it is compiled and when it is evaluated."""

from __future__ import annotations

from typing import Literal

from compiler.diagnostics import Code

EvaluationCode = Literal["expression_error", "expression_budget"]


class ExpressionError(Exception):
    """The text is not of the expression language. Reported at compile time; a retry never helps.

    :param code: The diagnostic's code, such as ``expression_syntax`` or ``expression_forbidden``.
    :param message: Rule, got, fix.
    :param suggestion: A word that would fix it, if one is known.
    """

    def __init__(self, code: Code, message: str, suggestion: str | None = None) -> None:
        super().__init__(message)
        self.code: Code = code
        self.message = message
        self.suggestion = suggestion


class EvaluationError(Exception):
    """The expression met values it cannot work with, or its budget is used up. A retry never helps.

    :param code: ``expression_error`` or ``expression_budget``.
    :param message: Where, and what was there.
    """

    def __init__(self, code: EvaluationCode, message: str) -> None:
        super().__init__(message)
        self.code: EvaluationCode = code
        self.message = message
        self._placed = False

    def place(self, operand: str | None) -> None:
        """Add to the message which operand the error is about; only the innermost operand is added.

        :param operand: The operand as it is written, or None where it has no name.
        """
        if not self._placed and operand is not None and f"`{operand}" not in self.message:
            self.message = f"{self.message} (at `{operand}`)"
            self.args = (self.message,)
        self._placed = True


class MissingError(EvaluationError):
    """A link of the expression leads nowhere: what ``default`` and ``is defined`` ask about."""

    def __init__(self, message: str) -> None:
        super().__init__("expression_error", message)


def failed(message: str) -> EvaluationError:
    """Return the error of an expression that met a value it cannot work with."""
    return EvaluationError("expression_error", message)
