"""``wait``: lets time pass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import model_validator

from compiler.fields import Json
from compiler.steps.base import NumberOrExpression, Single, StepConfig, numbers_by_expression, require_one_of


class WaitConfig(StepConfig):
    """Config of ``wait``. Output: ``{waited_seconds}``."""

    available: ClassVar[bool] = True
    barrier: ClassVar[bool] = True
    retryable: ClassVar[bool] = False

    seconds: Annotated[Json, NumberOrExpression("number", 0, 366 * 86_400)] = None
    until: Json = None

    @model_validator(mode="after")
    def _check(self) -> WaitConfig:
        require_one_of(self, "seconds", "until")
        return self

    @classmethod
    def single_expressions(cls, config: dict[str, Any]) -> Iterator[Single]:
        """Yield ``until``, and ``seconds`` where it is given by an expression."""
        if "until" in config:
            yield Single(("until",), config["until"])
        yield from numbers_by_expression(config, "seconds")

    @classmethod
    def output_keys(cls, config: dict[str, Any]) -> frozenset[str] | None:
        """How long it was."""
        return frozenset({"waited_seconds"})
