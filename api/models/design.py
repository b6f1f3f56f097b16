"""What designers work on: drafts, templates, reviews."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Computed, ForeignKeyConstraint, Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from api.models.base import Base, CreatedAt, JsonColumn, NewId, OptionalJson, OrganizationKey, Timestamp

_AGENT = ["agents.organization_id", "agents.id"]


def _of_agent() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["organization_id", "agent_id"], _AGENT, ondelete="CASCADE")


class AgentWorkflow(Base):
    """An agent's draft. ``source`` is the workflow's JSON as it was sent; ``canvas`` is what a designer's screen keeps
    beside it. ``revision`` grows with each change."""

    __tablename__ = "agent_workflows"
    __table_args__ = (_of_agent(),)

    organization_id: Mapped[OrganizationKey]
    agent_id: Mapped[UUID] = mapped_column(primary_key=True)
    revision: Mapped[int]
    source: Mapped[bytes] = mapped_column(LargeBinary)
    source_digest: Mapped[str] = mapped_column(Computed("encode(sha256(source), 'hex')", persisted=True))
    canvas: Mapped[OptionalJson]
    updated_at: Mapped[CreatedAt]
    updated_by: Mapped[str | None]


class AgentTemplate(Base):
    """A template of the organisation's own. The public ones come with the program and are no rows."""

    __tablename__ = "agent_templates"

    organization_id: Mapped[OrganizationKey]
    id: Mapped[NewId]
    name: Mapped[str]
    category: Mapped[str | None]
    description: Mapped[str | None]
    source: Mapped[bytes] = mapped_column(LargeBinary)
    canvas: Mapped[OptionalJson]
    created_at: Mapped[CreatedAt]
    created_by: Mapped[str | None]


class PublishReview(Base):
    """Somebody asked for a look at exactly what would be published.

    ``digest`` is of ``subject``: the digests of the source, of the plan, of the DAG file, and of every version that the
    workflow calls. ``author`` is who changed the draft last.
    """

    __tablename__ = "publish_reviews"
    __table_args__ = (_of_agent(), Index(None, "organization_id", "digest"))

    organization_id: Mapped[OrganizationKey]
    id: Mapped[NewId]
    agent_id: Mapped[UUID]
    digest: Mapped[str]
    subject: Mapped[JsonColumn]
    source: Mapped[bytes] = mapped_column(LargeBinary)
    author: Mapped[str | None]
    requested_by: Mapped[str]
    requested_at: Mapped[CreatedAt]
    decision: Mapped[str | None]
    comment: Mapped[str | None]
    decided_by: Mapped[str | None]
    decided_at: Mapped[Timestamp | None]
