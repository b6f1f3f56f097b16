"""``emit_event``: raises an event that may trigger other workflows."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from compiler.fields import Json
from compiler.steps.base import StepConfig


class EmitEventConfig(StepConfig):
    """Config of ``emit_event``. Output: ``{event_id}``."""

    available: ClassVar[bool] = True

    type: str = Field(min_length=1, max_length=500)
    data: Json

    @classmethod
    def output_keys(cls, config: dict[str, Any]) -> frozenset[str] | None:
        """The event's id, nothing else."""
        return frozenset({"event_id"})
