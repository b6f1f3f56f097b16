"""Approvals: what people are asked to decide, and what they decided."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from api.models.base import Base, CreatedAt, JsonColumn, NewId, OptionalJson, OrganizationKey, Timestamp
from api.models.execution import EXECUTION_KEY


class Approval(Base):
    """A question of one step of an execution. ``title``, ``body``, ``assignees``, ``comment`` and ``decided_by`` are
    tenant text.

    ``current`` ends where the step is run again: then it is asked anew, and this stays as history. ``decision`` is
    approve or reject, or fail where nobody decided in time; ``via`` is api, cli, airflow or timeout.
    """

    __tablename__ = "approvals"
    __table_args__ = (
        ForeignKeyConstraint(["organization_id", "execution_id"], EXECUTION_KEY, ondelete="CASCADE"),
        Index(
            "uq_approvals_of_a_step",
            "organization_id",
            "execution_id",
            "epoch",
            "step_id",
            unique=True,
            postgresql_where=text("current"),
        ),
        Index("ix_approvals_open", "organization_id", "id", postgresql_where=text("current AND decision IS NULL")),
    )

    organization_id: Mapped[OrganizationKey]
    id: Mapped[NewId]
    execution_id: Mapped[UUID]
    epoch: Mapped[int]
    step_id: Mapped[str]
    current: Mapped[bool] = mapped_column(server_default=text("true"))
    title: Mapped[JsonColumn]
    body: Mapped[OptionalJson]
    assignees: Mapped[JsonColumn]
    created_at: Mapped[CreatedAt]
    due_at: Mapped[Timestamp | None]
    on_timeout: Mapped[str]
    decision: Mapped[str | None]
    comment: Mapped[OptionalJson]
    decided_by: Mapped[OptionalJson]
    decided_at: Mapped[Timestamp | None]
    via: Mapped[str | None]
