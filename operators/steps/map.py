"""``map``: a body of steps for each item of a list. What runs the bodies is ``operators/execution/mapping.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from compiler.expressions import render, text_of
from compiler.plan import Step
from operators.steps.base import Scope, StepFailedError, StepKey, StepResult, StepServices, config_error

MAX_ITEMS = 1_000


@dataclass(frozen=True, slots=True)
class Items:
    """The items of a map, and the names its body sees besides."""

    values: list[JsonValue]
    scope: Scope


class Map:
    """Yields a list in the order of ``over``."""

    def render(self, step: Step, scope: Scope) -> Items:
        """Evaluate ``over``.

        :raises StepFailedError: It gives no list, or more than 1,000 items (``limit_exceeded``).
        """
        value = render(step.config["over"], scope, hands_on=True)
        if not isinstance(value, list):
            raise config_error(f"`over` must be a list; got {text_of(value)[:100]}")
        if len(value) > MAX_ITEMS:
            raise StepFailedError(
                "limit_exceeded",
                f"`over` must have at most {MAX_ITEMS:,} items; got {len(value):,}. Split the list",
                retryable=False,
            )
        return Items(value, scope)

    async def call(self, request: Items, services: StepServices, key: StepKey) -> StepResult:
        """Refuse: the body's steps are journaled one by one, so the runner runs them itself."""
        raise NotImplementedError("a map is run by operators.execution.mapping.MapRun")


def item_result(config: Mapping[str, Any], default: JsonValue, scope: Scope) -> JsonValue:
    """Return what a body yields for its item: ``result``, else the body's default output.

    :raises EvaluationError: ``result`` cannot be evaluated.
    """
    return default if config.get("result") is None else render(config["result"], scope, hands_on=True)
