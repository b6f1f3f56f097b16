"""The budget of one evaluation: how much work it may do and how much it may produce.

Work is counted, never timed, so that an expression succeeds or fails the same way on every machine. Text costs one
operation for every 64 characters that are read or made; that bounds time, and memory with it.
"""

from __future__ import annotations

from compiler.expressions.errors import EvaluationError

MAX_OPERATIONS = 100_000
MAX_OUTPUT_BYTES = 1_000_000
MAX_DEPTH = 50

_CHARACTERS_PER_OPERATION = 64


class Budget:
    """What is left to one evaluation.

    :param operations: Steps of the evaluator: nodes, turns of a loop, elements of a list, 64 characters of text.
    :param output_bytes: Bytes of the result as UTF-8, and the most that any text on the way may have.
    """

    def __init__(self, operations: int = MAX_OPERATIONS, output_bytes: int = MAX_OUTPUT_BYTES) -> None:
        self._operations_limit = operations
        self._output_limit = output_bytes
        self.operations_left = operations
        self.output_left = output_bytes

    def spend(self, operations: int = 1) -> None:
        """Count work that is about to be done.

        :raises EvaluationError: ``expression_budget``: none of that is left.
        """
        self.operations_left -= operations
        if self.operations_left < 0:
            raise EvaluationError(
                "expression_budget",
                f"one evaluation may take {self._operations_limit:,} operations; this one needs more. "
                "Loop over fewer items or pass shorter texts",
            )

    def spend_text(self, characters: int) -> None:
        """Count text that is about to be read or made.

        :raises EvaluationError: ``expression_budget``: the text is longer than an output may be, or no work is left.
        """
        self.fits(characters)
        self.spend(characters // _CHARACTERS_PER_OPERATION + 1)

    def fits(self, size: int) -> None:
        """Check that a text on the way is not larger than the output may be.

        :raises EvaluationError: ``expression_budget``: it is.
        """
        if size > self._output_limit:
            raise self._too_much()

    def write(self, size: int) -> None:
        """Count bytes of the result.

        :raises EvaluationError: ``expression_budget``: the result is too large.
        """
        self.output_left -= size
        if self.output_left < 0:
            raise self._too_much()

    def _too_much(self) -> EvaluationError:
        return EvaluationError(
            "expression_budget",
            f"one evaluation may produce {self._output_limit:,} bytes; this one produces more. "
            "Shorten the text, for example with `truncate`",
        )


def too_deep() -> EvaluationError:
    """Return the error of a value that is nested deeper than an evaluation may go."""
    return EvaluationError("expression_budget", f"values may be nested {MAX_DEPTH} levels deep; this one is deeper")
