"""What callers send and see of approvals."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.approvals.repository import Status, Via
from operators.execution.records import Decision, TimeoutPolicy


class DecisionCreate(BaseModel):
    """Decides an approval. ``by`` is who decides: one of the assignees, where there are any.

    Without it the caller's address, or "api" for the operator and the keys that the operator made.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"decision": "approve", "comment": "Within the budget.", "by": "ann"}]},
    )

    decision: Decision
    comment: Annotated[str, Field(max_length=10_000)] | None = None
    by: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    via: Literal["api", "cli"] = "api"


class ApprovalView(BaseModel):
    """An approval. ``status`` is ``withdrawn`` where nobody waits for a decision any more.

    ``decision`` is ``fail`` where nobody decided in time and the step failed for it; then and wherever the time-out
    decided, ``via`` is ``timeout``.
    """

    id: UUID
    execution_id: UUID
    workflow_id: str
    step_id: str
    status: Status
    title: str
    body: str | None
    assignees: list[str]
    created_at: datetime
    due_at: datetime | None
    on_timeout: TimeoutPolicy
    decision: TimeoutPolicy | None
    comment: str | None
    by: str | None
    decided_at: datetime | None
    via: Via | None
    url: str


class ApprovalList(BaseModel):
    """A page of approvals, the newest first. ``next`` is the ``before`` of the next page; null on the last one."""

    approvals: list[ApprovalView]
    next: UUID | None
