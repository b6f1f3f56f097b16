"""What callers send and see of retention."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

SHORTEST_AUDIT_DAYS = 30
"""The database keeps entries of the audit log for so long, whatever is asked for."""

Days = Annotated[int, Field(ge=1, le=36_500)]
AuditDays = Annotated[int, Field(ge=SHORTEST_AUDIT_DAYS, le=36_500)]


class RetentionChange(BaseModel):
    """How long things are kept, in days; null stands for as long as the platform keeps them."""

    model_config = ConfigDict(extra="forbid")

    executions: Days | None
    audit_log: AuditDays | None


class RetentionView(BaseModel):
    """``executions``: with their steps, after their end; ``audit_log``: entries. ``longest_...`` is the platform's."""

    executions: int
    longest_executions: int
    audit_log: int
    longest_audit_log: int
