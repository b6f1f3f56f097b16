"""``wait``: lets time pass."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from compiler.expressions import render, text_of
from compiler.plan import Step
from compiler.steps.wait import MOMENT_RULE, read_moment
from operators.steps.base import Scope, StepResult, StepServices, Waiting, Wake, config_error

MAX_SECONDS = 366 * 86_400


@dataclass(frozen=True, slots=True)
class Pause:
    """How long to wait: seconds from the step's start, or until a moment."""

    seconds: float | None
    until: datetime | None


class Wait:
    """Yields ``{waited_seconds}``: the seconds asked for, or those from the step's start to ``until``."""

    def render(self, step: Step, scope: Scope) -> Pause:
        """Evaluate ``seconds`` or ``until``.

        :raises StepFailedError: It is no such time.
        """
        config: dict[str, Any] = step.config
        if config.get("seconds") is not None:
            return Pause(_seconds(render(config["seconds"], scope)), None)
        return Pause(None, _moment(render(config["until"], scope)))

    async def poll(self, request: Pause, services: StepServices, waiting: Waiting, now: datetime) -> StepResult | Wake:
        """Look at the clock."""
        until = request.until or waiting.started_at + timedelta(seconds=request.seconds or 0)
        if now < until:
            return Wake(until=until)
        seconds = max(0.0, round((until - waiting.started_at).total_seconds(), 3))
        return StepResult({"waited_seconds": int(seconds) if seconds == int(seconds) else seconds})

    async def abandon(self, request: Pause, services: StepServices, waiting: Waiting) -> None:
        """Do nothing: time passes anyway."""


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_SECONDS:
        raise config_error(f"`seconds` must be a number from 0 to {MAX_SECONDS:,}; got {text_of(value)[:100]}")
    return float(value)


def _moment(value: Any) -> datetime:
    moment = read_moment(value)
    if moment is None:
        raise config_error(f"`until` {MOMENT_RULE}; got {text_of(value)[:100]}")
    return moment
