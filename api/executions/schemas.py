"""What callers send and see of executions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from operators.execution.records import ExecutionStatus, PodTiming, StepError, StepStatus, Usage


class ExecutionCreate(BaseModel):
    """Starts a workflow."""

    model_config = ConfigDict(extra="forbid")

    workflow_id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
    input: JsonValue = Field(default_factory=dict)


class ExecutionAccepted(BaseModel):
    """An execution that was stored and will run.

    ``existing`` tells that nothing new was started: the limit is reached, and the workflow's ``conflict`` is
    ``use_existing``; or the same request came before, by its ``Idempotency-Key``.
    """

    execution_id: UUID
    status: ExecutionStatus
    workflow_id: str
    version: int
    url: str
    existing: bool = False


class ExecutionCancelled(BaseModel):
    """An execution that is to be cancelled. Its ``status`` is final already, or becomes so within seconds."""

    execution_id: UUID
    status: ExecutionStatus


class ExecutionRestarted(BaseModel):
    """An ended execution that runs again: ``pending`` until its first step starts."""

    execution_id: UUID
    status: ExecutionStatus
    epoch: int
    url: str


class ErrorHandling(BaseModel):
    """What became of a failed execution's ``error_workflow``: the execution that it started, or why it did not."""

    workflow_id: str
    execution_id: UUID | None
    problem: StepError | None


class StepView(BaseModel):
    """One step. ``cost_usd`` is null where a call's price is unknown. ``approval_id`` names the decision it needs.
    ``timing`` says where the time of a step in a pod went."""

    id: str
    type: str
    status: StepStatus
    output: JsonValue = None
    error: StepError | None = None
    attempts: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None
    duration_ms: float | None = None
    usage: list[Usage] = []
    cost_usd: float | None = 0.0
    approval_id: UUID | None = None
    timing: PodTiming | None = None


class UsageTotal(BaseModel):
    """Sum over the model calls of an execution. ``cost_usd`` is null where a call's price is unknown, never too low."""

    model_calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None


class ExecutionView(BaseModel):
    """An execution with every step of its plan, in the plan's order.

    ``version`` and ``digest`` are of the version that runs; until the first step starts, of the one that was current
    at acceptance. ``depth`` counts the executions in a row that started one another up to this one; ``error_of`` is the
    failed execution that this one was started for. ``epoch`` counts how often it was rerun; a step that was not is
    shown with its older result. ``duration_ms`` counts from acceptance, ``queued_ms`` from acceptance to the first
    lease; both from ``reopened_at`` where it was run again.
    """

    execution_id: UUID
    workflow_id: str
    version: int
    digest: str
    status: ExecutionStatus
    epoch: int
    trigger: JsonValue
    input: JsonValue
    output: JsonValue
    error: StepError | None
    accepted_at: datetime
    reopened_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None
    cancel_requested_at: datetime | None
    parent_execution_id: UUID | None
    depth: int
    error_of: UUID | None
    error_workflow: ErrorHandling | None
    queued_ms: float | None
    duration_ms: float | None
    usage: UsageTotal
    steps: list[StepView]
    url: str
    airflow_url: str
