"""What callers send and see of dead letters."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

WorkflowId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]


class DeadLetterView(BaseModel):
    """An order to Airflow that the relay gave up: to ``start`` the execution's run, or to ``stop`` it.

    ``waiting_since`` is when the order was given, ``dead_since`` when it was given up, after so many ``attempts``.
    """

    id: int
    execution_id: UUID
    workflow_id: str
    kind: str
    attempts: int
    error: str | None
    waiting_since: datetime
    dead_since: datetime | None


class DeadLetterList(BaseModel):
    """A page of dead letters, the newest first. ``next`` is the ``before`` of the next page; null on the last one."""

    dead_letters: list[DeadLetterView]
    next: int | None


class RedeliveryCreate(BaseModel):
    """Asks for all dead letters to be delivered again, or for those of one workflow."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"workflow_id": "greet"}]})

    workflow_id: WorkflowId | None = None


class Redelivered(BaseModel):
    """How many dead letters live again, and how many are still dead because their executions may not start any more."""

    redelivered: int
    refused: int
