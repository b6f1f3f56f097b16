"""``approval``: waits for a person's decision."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from pydantic import Field

from compiler.fields import Duration, FormatModel
from compiler.steps.base import Choice, StepConfig


class Routes(FormatModel):
    """The tasks the decisions lead to."""

    approve: str | None = None
    reject: str | None = None


class ApprovalConfig(StepConfig):
    """Config of ``approval``. Output: ``{decision, comment, by, at}``."""

    barrier: ClassVar[bool] = True
    retryable: ClassVar[bool] = False

    title: str = Field(min_length=1)
    body: str | None = None
    assignees: list[str] = Field(default_factory=list)
    timeout: Duration | None = None
    on_timeout: Literal["reject", "approve", "fail"] | None = None
    routes: Routes | None = None

    @classmethod
    def choices(cls, config: dict[str, Any]) -> Iterator[Choice]:
        """Yield the routes."""
        routes = config.get("routes")
        for decision, target in routes.items() if isinstance(routes, dict) else ():
            if isinstance(target, str):
                yield Choice("route", ("routes", decision), target)

    @classmethod
    def output_keys(cls, config: dict[str, Any]) -> frozenset[str] | None:
        """What is known of the decision."""
        return frozenset({"decision", "comment", "by", "at"})
