"""``emit_event``: tells the other workflows of the organisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from compiler.expressions import render, text_of
from compiler.plan import Step
from operators.steps.base import Scope, StepFailedError, StepKey, StepResult, StepServices, config_error

MAX_TYPE = 500


@dataclass(frozen=True, slots=True)
class Event:
    """What is told."""

    type: str
    data: JsonValue


class EmitEvent:
    """Yields ``{event_id}``. The event's key is the step's: an attempt that is made again emits nothing new."""

    def render(self, step: Step, scope: Scope) -> Event:
        """Evaluate type and data.

        :raises StepFailedError: The type is no short text.
        """
        config: dict[str, Any] = step.config
        event_type = render(config["type"], scope)
        if not isinstance(event_type, str) or not 0 < len(event_type) <= MAX_TYPE or "\x00" in event_type:
            raise config_error(f"`type` must be a text of 1 to {MAX_TYPE} characters; got {text_of(event_type)[:100]}")
        return Event(event_type, render(config["data"], scope))

    async def call(self, request: Event, services: StepServices, key: StepKey) -> StepResult:
        """Raise the event.

        :raises StepFailedError: ``depth_exceeded``, or the event was refused.
        """
        if services.emit is None:
            raise StepFailedError("event_refused", "there is nobody to tell an event here", retryable=False)
        return StepResult({"event_id": await services.emit(key, request.type, request.data)})
