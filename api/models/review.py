"""Reviews: what somebody approved before it was published."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, ForeignKeyConstraint, Index, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from api.models.base import Base, CreatedAt, JsonColumn, NewId, OrganizationKey, Timestamp


class ReviewPolicy(Base):
    """Whether an organisation publishes only what was approved; without a row it publishes everything."""

    __tablename__ = "review_policies"

    organization_id: Mapped[OrganizationKey]
    required: Mapped[bool]
    changed_at: Mapped[CreatedAt]
    changed_by: Mapped[str]


class AgentReview(Base):
    """A review of a draft, or of the version ``number``. Once it is decided it stays as it is.

    ``fingerprint`` is a sha256 of ``plan_digest`` and ``coverage``, which is what the workflow depends on.
    """

    __tablename__ = "agent_reviews"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "agent_id"], ["agents.organization_id", "agents.id"], ondelete="CASCADE"
        ),
        CheckConstraint("decision IN ('approve', 'reject')", name="decision"),
        CheckConstraint(
            "(decision IS NULL) = (decided_at IS NULL) AND (decision IS NULL) = (decided_by IS NULL)", name="decided"
        ),
        CheckConstraint(
            "decision IS DISTINCT FROM 'approve' OR NOT (decided_by = ANY (authors) OR decided_by = requested_by)",
            name="four_eyes",
        ),
        Index(None, "organization_id", "agent_id", "fingerprint"),
    )

    organization_id: Mapped[OrganizationKey]
    id: Mapped[NewId]
    agent_id: Mapped[UUID]
    number: Mapped[int | None]
    source: Mapped[bytes] = mapped_column(LargeBinary)
    plan_digest: Mapped[str]
    fingerprint: Mapped[str]
    coverage: Mapped[JsonColumn]
    authors: Mapped[list[str]] = mapped_column(ARRAY(Text))
    note: Mapped[str | None]
    requested_at: Mapped[CreatedAt]
    requested_by: Mapped[str]
    decision: Mapped[str | None]
    decided_at: Mapped[Timestamp | None]
    decided_by: Mapped[str | None]
    comment: Mapped[str | None]
