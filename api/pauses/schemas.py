"""What callers see of pauses."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel


class PausedWorkflow(BaseModel):
    """A workflow whose executions wait."""

    workflow_id: str
    paused_at: datetime


class RelayState(BaseModel):
    """How an organisation's relay stands.

    ``paused_at`` is null where the organisation is not paused; ``waiting`` counts the executions that Airflow has not
    been told of, ``dead_letters`` the orders that were given up.
    """

    paused_at: datetime | None
    paused_workflows: list[PausedWorkflow]
    waiting: int
    dead_letters: int


class WorkflowPause(BaseModel):
    """How a workflow stands. ``paused_at`` is null where it is not paused itself; its organisation may be."""

    workflow_id: str
    paused_at: datetime | None
