"""The types of our own events."""

from __future__ import annotations

from typing import Literal, get_args

EventType = Literal["agent.created", "agent.published", "execution.started", "execution.finished"]
EVENT_TYPES: tuple[EventType, ...] = get_args(EventType)
FINISHED: EventType = "execution.finished"
