"""``wait``: lets time pass."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

from pydantic import model_validator

from compiler.fields import Json
from compiler.steps.base import NumberOrExpression, Single, StepConfig, numbers_by_expression, require_one_of

MOMENT_RULE = "must be a moment in ISO 8601 such as '2027-01-31T09:00:00Z'"


def read_moment(value: Any) -> datetime | None:
    """Read an ISO 8601 moment, without an offset in UTC; None for anything else."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    # Not converted to UTC, which fails at the ends of the calendar; comparing needs no conversion.
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def _moment_rule(value: Any) -> str | None:
    return MOMENT_RULE if read_moment(value) is None else None


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
            yield Single(("until",), config["until"], kinds=("string",), rule_for=_moment_rule)
        yield from numbers_by_expression(config, "seconds")

    @classmethod
    def output_keys(cls, config: dict[str, Any]) -> frozenset[str] | None:
        """How long it was."""
        return frozenset({"waited_seconds"})
