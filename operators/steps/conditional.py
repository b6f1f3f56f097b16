"""``conditional``: the first condition that is true chooses the branch."""

from __future__ import annotations

from typing import Any

from compiler.expressions import render_condition
from compiler.plan import Step
from operators.steps.base import Scope, StepKey, StepResult, StepServices


class Conditional:
    """Yields ``{branch}``: the chosen step id, or null where nothing is true and there is no ``default``."""

    def render(self, step: Step, scope: Scope) -> str | None:
        """Evaluate the conditions in order up to the first true one; later ones are not looked at."""
        conditions: Any = step.config["conditions"]
        for condition in conditions:
            if render_condition(condition["if"], scope):
                return str(condition["then"])
        default = step.config.get("default")
        return None if default is None else str(default)

    async def call(self, request: str | None, services: StepServices, key: StepKey) -> StepResult:
        """Return the choice."""
        return StepResult({"branch": request})
