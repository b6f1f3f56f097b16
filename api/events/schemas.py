"""What callers see of events."""

from __future__ import annotations

from uuid import UUID

from pydantic import BaseModel

from operators.execution.records import StepError


class Started(BaseModel):
    """A workflow that waits for the event: the execution that it started, or why it did not."""

    workflow_id: str
    execution_id: UUID | None = None
    error: StepError | None = None


class EventAccepted(BaseModel):
    """An event that was heard. The same event again gets the same answer and starts nothing."""

    event_id: str
    executions: list[Started]
