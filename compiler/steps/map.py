"""``map``: runs a body of tasks once for each item of a list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from compiler.fields import RESERVED_IDS, Json, is_identifier, problem
from compiler.steps.base import Single, StepConfig


def _check_name(value: str) -> str:
    if not is_identifier(value) or (value in RESERVED_IDS and value != "item"):
        raise problem("unsafe_identifier", "must be a name: a-z, then a-z, 0-9 and _, and no reserved word")
    return value


class MapConfig(StepConfig):
    """Config of ``map``; ``tasks`` are read like those of the workflow. Output: a list in the order of ``over``.

    Whether a map is a barrier its body decides.
    """

    available: ClassVar[bool] = True
    retryable: ClassVar[bool] = False
    verbatim: ClassVar[frozenset[str]] = frozenset({"tasks", "as", "result"})

    over: Json
    as_: Annotated[str, AfterValidator(_check_name)] = Field(default="item", alias="as")
    tasks: list[Json] = Field(min_length=1)
    concurrency: int = Field(default=10, ge=1, le=1_000)
    on_item_error: Literal["fail", "continue"] = "fail"
    result: Json = None

    @classmethod
    def single_expressions(cls, config: dict[str, Any]) -> Iterator[Single]:
        """Yield ``over``; ``result`` is evaluated in the body's scope and checked there."""
        if "over" in config:
            yield Single(("over",), config["over"], kinds=("list",))

    @classmethod
    def item_name(cls, config: dict[str, Any]) -> str:
        """Return the name the body knows the item by."""
        name = config.get("as", "item")
        return name if isinstance(name, str) else "item"
