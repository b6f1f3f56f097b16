"""What may be asked for of a list of executions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from operators.execution.records import ExecutionStatus

TriggerType = Literal["manual", "webhook", "schedule", "event", "workflow"]

_FIRST_YEAR, _LAST_YEAR = 2000, 2199


def _in_our_time(moment: datetime) -> datetime:
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise ValueError(f"must be in the years {_FIRST_YEAR} to {_LAST_YEAR}")
    return moment


Moment = Annotated[AwareDatetime, AfterValidator(_in_our_time)]


class ExecutionFilter(BaseModel):
    """Which executions are asked for; all that is given must hold. Moments are of the acceptance: from the first on,
    before the second. Durations, from the acceptance to the end, are of ended executions."""

    model_config = ConfigDict(extra="forbid")

    workflow_id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")] | None = None
    version: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    status: Annotated[list[ExecutionStatus], Field(max_length=5)] = []
    trigger: TriggerType | None = None
    accepted_from: Moment | None = None
    accepted_before: Moment | None = None
    min_duration_ms: Annotated[float, Field(ge=0, le=1e13, allow_inf_nan=False)] | None = None
    max_duration_ms: Annotated[float, Field(ge=0, le=1e13, allow_inf_nan=False)] | None = None
    parent_execution_id: UUID | None = None
    error_code: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,100}$")] | None = None


class ExecutionPage(ExecutionFilter):
    """A filter, and which page of what it finds."""

    cursor: Annotated[str, Field(max_length=200)] | None = Field(default=None, description="`next` of the page before.")
    limit: Annotated[int, Field(ge=1, le=200)] = 50
