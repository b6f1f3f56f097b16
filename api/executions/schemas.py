"""What callers send and see of executions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue, PrivateAttr

from api.variables.schemas import DEFAULT_ENVIRONMENT, EnvironmentName
from operators.execution.records import ExecutionStatus, PodTiming, StepError, StepStatus, Usage


class ExecutionCreate(BaseModel):
    """Starts a workflow. ``environment`` is that of the variables it reads."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"workflow_id": "greet", "input": {"name": "Ann"}}]},
    )

    workflow_id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
    input: JsonValue = Field(default_factory=dict)
    environment: EnvironmentName = DEFAULT_ENVIRONMENT


class ExecutionAccepted(BaseModel):
    """An execution that was stored and will run.

    ``existing`` tells that nothing new was started: the limit is reached, and the workflow's ``conflict`` is
    ``use_existing``.
    """

    execution_id: UUID
    status: ExecutionStatus
    workflow_id: str
    version: int
    url: str
    existing: bool = False
    _replayed: bool = PrivateAttr(default=False)

    @property
    def replayed(self) -> bool:
        """Whether the same request came before and was answered this."""
        return self._replayed

    def as_replay(self) -> ExecutionAccepted:
        """Return the answer for the same request that comes again."""
        again = self.model_copy()
        again._replayed = True
        return again


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


class StepInput(BaseModel):
    """What a step was given: its config with the expressions evaluated. It is not stored but ``derived``, anew for each
    look, from what the journal holds. ``left_out`` names parts that cannot be evaluated any more or are too large."""

    derived: Literal[True] = True
    config: dict[str, JsonValue]
    left_out: list[str]


class ItemView(BaseModel):
    """One item of a map, by its place in ``over``, that has begun. ``cancelled`` is one that came to no end of its own:
    cut off, or the map failed meanwhile."""

    index: int
    status: Literal["running", "success", "failed", "cancelled"]


class OutputReference(BaseModel):
    """An output of more than 1 MB, which is not shown here: get it from ``url``. ``size`` is in bytes of JSON."""

    sha256: str
    size: int
    url: str


class StepView(BaseModel):
    """One step. ``cost_usd`` is null where a call's price is unknown. ``approval_id`` names the decision it needs.
    ``input`` is there where it was asked for and the step began; never of a step in a map's body. ``items`` are those
    of a map; null for any other step. ``output_ref`` is there instead of a large ``output``.
    ``timing`` says where the time of a step in a pod went."""

    id: str
    type: str
    status: StepStatus
    input: StepInput | None = None
    output: JsonValue = None
    output_ref: OutputReference | None = None
    error: StepError | None = None
    attempts: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None
    duration_ms: float | None = None
    usage: list[Usage] = []
    cost_usd: float | None = 0.0
    approval_id: UUID | None = None
    timing: PodTiming | None = None
    items: list[ItemView] | None = None


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
    environment: str
    trigger: JsonValue
    input: JsonValue
    output: JsonValue
    output_ref: OutputReference | None
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


Part = Literal["input", "output", "steps", "step_inputs", "step_outputs"]
"""What may be left out of an :class:`ExecutionView`: ``input`` goes with ``trigger``; the last two imply ``steps``."""


class ExecutionSummary(BaseModel):
    """An execution in a list. ``trigger`` is the kind of what started it; ``duration_ms`` as of an execution."""

    execution_id: UUID
    workflow_id: str
    version: int
    status: ExecutionStatus
    epoch: int
    environment: str
    trigger: str
    error_code: str | None
    parent_execution_id: UUID | None
    accepted_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    duration_ms: float | None
    url: str


class ExecutionList(BaseModel):
    """A page of executions, the newest first. ``next`` is the ``cursor`` of the next page; null on the last one."""

    executions: list[ExecutionSummary]
    next: str | None
