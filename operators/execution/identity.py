"""Ids that follow from what they name, so that doing it twice names one thing."""

from __future__ import annotations

from uuid import UUID, uuid5

_EVENTS = UUID("5f0c1c2e-7f0b-5a7c-9d5e-3f6f0f1b2a44")


def event_id(execution_id: str, epoch: int, step_id: str) -> str:
    """Return the id of the event that a step emits; another one when the step is run again on purpose."""
    return str(uuid5(_EVENTS, f"{execution_id}:{epoch}:{step_id}"))
