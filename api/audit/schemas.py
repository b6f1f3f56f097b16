"""What callers ask for and see of the audit log."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.executions.listing.schemas import Moment


class AuditFilter(BaseModel):
    """Which entries are asked for; all that is given must hold."""

    model_config = ConfigDict(extra="forbid")

    action: Annotated[str, Field(pattern=r"^[a-z_]{1,50}\.[a-z_]{1,50}$")] | None = None
    resource: Annotated[str, Field(pattern=r"^[A-Za-z0-9_./@:-]{1,500}$")] | None = None
    user_id: UUID | None = None
    at_from: Moment | None = None
    at_before: Moment | None = None


class AuditPage(AuditFilter):
    """A filter, and which page of what it finds."""

    cursor: Annotated[str, Field(max_length=200)] | None = Field(default=None, description="`next` of the page before.")
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class AuditEntryView(BaseModel):
    """A change. ``before`` and ``after`` are sha256 digests of the canonical JSON of what was there, where the
    action tells of it; equal ones mean that nothing changed."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    at: datetime
    actor: Literal["user", "api_key", "operator"]
    user_id: UUID | None
    api_key_id: UUID | None
    action: str
    resource: str
    before: str | None
    after: str | None
    address: str | None
    request_id: str | None


class AuditList(BaseModel):
    """A page of entries, the newest first."""

    entries: list[AuditEntryView]
    next: str | None
