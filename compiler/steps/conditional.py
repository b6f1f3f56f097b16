"""``conditional``: the first condition that is true chooses the branch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from pydantic import Field

from compiler.fields import FormatModel, Json
from compiler.steps.base import Choice, Single, StepConfig


class Condition(FormatModel):
    """One branch: the expression and the task it leads to."""

    if_: Json = Field(alias="if", description="One expression.", json_schema_extra={"type": "string"})
    then: str = Field(description="The id of a task.")


class ConditionalConfig(StepConfig):
    """Config of ``conditional``. Output: ``{branch}``, the chosen id or null."""

    available: ClassVar[bool] = True
    retryable: ClassVar[bool] = False

    conditions: list[Condition] = Field(min_length=1)
    default: str | None = Field(default=None, description="The task where no condition is true.")

    @classmethod
    def choices(cls, config: dict[str, Any]) -> Iterator[Choice]:
        """Yield the ``then`` edges and the ``default`` one, as they stand in the document."""
        for key, value in config.items():
            if key == "default" and isinstance(value, str):
                yield Choice("default", ("default",), value)
            elif key == "conditions":
                for index, condition in _conditions(config):
                    if isinstance(condition.get("then"), str):
                        yield Choice("then", ("conditions", index, "then"), condition["then"])

    @classmethod
    def single_expressions(cls, config: dict[str, Any]) -> Iterator[Single]:
        """Yield every ``if``."""
        for index, condition in _conditions(config):
            if "if" in condition:
                yield Single(("conditions", index, "if"), condition["if"], is_condition=True)

    @classmethod
    def output_keys(cls, config: dict[str, Any]) -> frozenset[str] | None:
        """The chosen branch, nothing else."""
        return frozenset({"branch"})


def _conditions(config: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    conditions = config.get("conditions")
    if isinstance(conditions, list):
        yield from ((index, item) for index, item in enumerate(conditions) if isinstance(item, dict))
