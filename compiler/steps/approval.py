"""``approval``: waits for a person's decision."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from compiler.fields import Duration, FormatModel, problem
from compiler.steps.base import Choice, StepConfig

DECISIONS: tuple[Literal["approve", "reject"], ...] = ("approve", "reject")


class Routes(FormatModel):
    """The tasks the decisions lead to."""

    approve: str | None = Field(default=None, description="The id of a task.")
    reject: str | None = Field(default=None, description="The id of a task.")

    @model_validator(mode="after")
    def _check(self) -> Routes:
        if self.approve is None and self.reject is None:
            raise problem("missing_field", "needs `approve` or `reject`, or both")
        return self


class ApprovalConfig(StepConfig):
    """Config of ``approval``. Output: ``{decision, comment, by, at}``."""

    available: ClassVar[bool] = True
    barrier: ClassVar[bool] = True
    retryable: ClassVar[bool] = False

    title: str = Field(min_length=1)
    body: str | None = None
    assignees: list[str] = Field(default_factory=list)
    timeout: Duration | None = Field(default=None, description="How long people have to decide.")
    on_timeout: Literal["reject", "approve", "fail"] | None = Field(
        default=None, description="What holds where nobody has decided in time; fail if absent."
    )
    routes: Routes | None = None

    @model_validator(mode="after")
    def _check(self) -> ApprovalConfig:
        if self.on_timeout is not None and self.timeout is None:
            raise problem("invalid_config", "needs `timeout` beside `on_timeout`")
        return self

    @classmethod
    def choices(cls, config: dict[str, Any]) -> Iterator[Choice]:
        """Yield the routes: edges of the kind of their decision."""
        routes = config.get("routes")
        for decision, target in routes.items() if isinstance(routes, dict) else ():
            if decision in DECISIONS and isinstance(target, str):
                yield Choice(decision, ("routes", decision), target)

    @classmethod
    def output_keys(cls, config: dict[str, Any]) -> frozenset[str] | None:
        """What is known of the decision."""
        return frozenset({"decision", "comment", "by", "at"})
