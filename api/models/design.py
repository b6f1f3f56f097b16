"""What designers work on: drafts, and templates to begin with."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ARRAY, Computed, ForeignKeyConstraint, LargeBinary, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from api.models.base import Base, CreatedAt, NewId, OptionalJson, OrganizationKey


class AgentWorkflow(Base):
    """An agent's draft. ``source`` is the workflow's JSON as it was sent; ``canvas`` is what a designer's screen keeps
    beside it. ``revision`` grows with each change. ``authors`` changed it since it was last published."""

    __tablename__ = "agent_workflows"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "agent_id"], ["agents.organization_id", "agents.id"], ondelete="CASCADE"
        ),
    )

    organization_id: Mapped[OrganizationKey]
    agent_id: Mapped[UUID] = mapped_column(primary_key=True)
    revision: Mapped[int]
    source: Mapped[bytes] = mapped_column(LargeBinary)
    source_digest: Mapped[str] = mapped_column(Computed("encode(sha256(source), 'hex')", persisted=True))
    canvas: Mapped[OptionalJson]
    updated_at: Mapped[CreatedAt]
    updated_by: Mapped[str | None]
    authors: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'::text[]"))


class AgentTemplate(Base):
    """An organisation's own template; the public ones come with the product. ``source`` is the workflow's JSON as it
    was sent. ``revision`` grows with each change."""

    __tablename__ = "agent_templates"
    __table_args__ = (UniqueConstraint("organization_id", "name"),)

    organization_id: Mapped[OrganizationKey]
    id: Mapped[NewId]
    name: Mapped[str]
    description: Mapped[str | None]
    category: Mapped[str | None]
    tags: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'::text[]"))
    revision: Mapped[int]
    source: Mapped[bytes] = mapped_column(LargeBinary)
    source_digest: Mapped[str] = mapped_column(Computed("encode(sha256(source), 'hex')", persisted=True))
    canvas: Mapped[OptionalJson]
    input_example: Mapped[OptionalJson]
    created_at: Mapped[CreatedAt]
    created_by: Mapped[str | None]
    updated_at: Mapped[CreatedAt]
    updated_by: Mapped[str | None]
