"""What callers send and see of reviews."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.texts import Description

ReviewStatus = Literal["open", "approved", "rejected"]
ReviewDecisionName = Literal["approve", "reject"]


class ReviewPolicySet(BaseModel):
    """Says whether the organisation publishes only what was approved."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"required": True}]})

    required: bool


class ReviewPolicyView(BaseModel):
    """The rule, and who set it; null where nobody ever did."""

    required: bool
    changed_at: datetime | None
    changed_by: str | None


class ReviewRequest(BaseModel):
    """Asks for a review of the draft as it is now, or of an older version that is to be published again."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"note": "Asks for the order number."}]})

    version: Annotated[int | None, Field(ge=1, le=2**31 - 1)] = None
    note: Description | None = None


class ReviewDecision(BaseModel):
    """Decides a review. ``fingerprint`` is that of the review: it names exactly what was looked at."""

    model_config = ConfigDict(extra="forbid")

    decision: ReviewDecisionName
    fingerprint: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    comment: Description | None = None


class ReviewView(BaseModel):
    """A review. ``digest`` is the plan's; ``fingerprint`` names that and everything it depends on.

    ``version`` is null of a draft. ``authors`` changed the draft since it was last published; they are users' ids, or
    ``operator``.
    """

    id: UUID
    agent_id: UUID
    workflow_id: str
    version: int | None
    digest: str
    fingerprint: str
    status: ReviewStatus
    authors: list[str]
    note: str | None
    requested_at: datetime
    requested_by: str
    decided_at: datetime | None
    decided_by: str | None
    comment: str | None


class ReviewList(BaseModel):
    """A page of reviews, the newest first. ``next`` is the ``before`` of the next page; null on the last one."""

    reviews: list[ReviewView]
    next: UUID | None


class CoveredCall(BaseModel):
    """A call of another workflow, by the workflow that is reviewed (``caller`` null) or by one that it calls.

    ``reference`` is the number or label that the call pins, null for whatever is current. ``number`` and ``digest``
    are of the version that this means; null where there is none.
    """

    caller: str | None
    workflow_id: str
    reference: int | str | None
    number: int | None
    digest: str | None


class CoveredVariable(BaseModel):
    """A variable that the workflow or one it calls reads; ``sha256`` is of its JSON, null where it is secret."""

    name: str
    environment: str
    sha256: str | None


class Coverage(BaseModel):
    """What a workflow depends on."""

    calls: list[CoveredCall]
    variables: list[CoveredVariable]


class ReviewDetail(ReviewView):
    """A review with what was reviewed. ``stale``: the draft or what it depends on is another one by now."""

    stale: bool
    covers: Coverage
    workflow: dict[str, Any]
