"""``emit_event``: raises an event that may trigger other workflows."""

from __future__ import annotations

from pydantic import Field

from compiler.fields import Json
from compiler.steps.base import StepConfig


class EmitEventConfig(StepConfig):
    """Config of ``emit_event``. Output: ``{event_id}``."""

    type: str = Field(min_length=1)
    data: Json
