"""An approval as the in-memory store keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from operators.execution.records import ApprovalRequest, ApprovalState, Decision, TimeoutPolicy
from operators.execution.waiting import after

TIMEOUT = "timeout"
"""Who has decided where the time was over."""


@dataclass(slots=True)
class StoredApproval:
    """One question, and its answer once there is one."""

    id: str
    request: ApprovalRequest
    asked_at: datetime
    decision: TimeoutPolicy | None = None
    comment: str | None = None
    by: str | None = None
    at: datetime | None = None

    def is_decided(self, now: datetime) -> bool:
        """Tell whether somebody, or the time-out, has decided."""
        self._expire(now)
        return self.decision is not None

    def state(self, now: datetime) -> ApprovalState:
        """Return how it stands."""
        self._expire(now)
        due = self._due
        left = None if due is None else max(0.0, (due - now).total_seconds())
        return ApprovalState(
            id=self.id, decision=self.decision, comment=self.comment, by=self.by, at=self.at, seconds_left=left
        )

    def decide(self, decision: Decision, comment: str | None, by: str, now: datetime) -> str | None:
        """Take an answer; return the code of the reason why it does not count, or None."""
        if self.request.assignees and by not in self.request.assignees:
            return "not_assignee"
        if self.is_decided(now):
            return None if (self.decision, self.by) == (decision, by) else "already_decided"
        self.decision, self.comment, self.by, self.at = decision, comment, by, now
        return None

    @property
    def _due(self) -> datetime | None:
        return after(self.asked_at, self.request.timeout_seconds)

    def _expire(self, now: datetime) -> None:
        due = self._due
        if self.decision is None and due is not None and due <= now:
            self.decision, self.by, self.at = self.request.on_timeout, TIMEOUT, due
