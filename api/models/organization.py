"""Organisations and their variables."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import CheckConstraint, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from api.models.base import Base, CreatedAt, OptionalJson, OrganizationKey, TextKey, Timestamp


class Organization(Base):
    """A tenant. ``slug`` stands in URLs and DAG ids.

    ``retention_days`` and ``audit_retention_days`` are null where it keeps things as long as the platform does. From
    ``deletion_due_at`` on it is deleted; from ``deletion_began_at`` on nothing stops that.

    ``warm_pods`` are the pods that wait for its Python steps, as they were asked for; null: none.

    While ``paused_at`` is set, none of its executions is given to Airflow; ``resumed_at`` is when the last pause ended.
    """

    __tablename__ = "organizations"
    __table_args__ = (
        CheckConstraint("retention_days >= 1", "retention_days"),
        CheckConstraint("audit_retention_days >= 30", "audit_retention_days"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"))
    slug: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    created_at: Mapped[CreatedAt]
    paused_at: Mapped[Timestamp | None]
    resumed_at: Mapped[Timestamp | None]
    retention_days: Mapped[int | None]
    audit_retention_days: Mapped[int | None]
    deletion_due_at: Mapped[Timestamp | None]
    deletion_began_at: Mapped[Timestamp | None]
    warm_pods: Mapped[OptionalJson]


class Variable(Base):
    """A value that the organisation's workflows read as ``vars.<name>``, in one of its environments.

    Of a secret one only ``sealed`` is stored: encrypted, and bound to organisation, environment and name.
    """

    __tablename__ = "variables"
    __table_args__ = (
        CheckConstraint("secret = (sealed IS NOT NULL) AND NOT (secret AND value IS NOT NULL)", name="sealed"),
    )

    organization_id: Mapped[OrganizationKey]
    environment: Mapped[str] = mapped_column(primary_key=True, server_default="default")
    name: Mapped[TextKey]
    secret: Mapped[bool] = mapped_column(server_default=text("false"))
    value: Mapped[OptionalJson]
    sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    updated_at: Mapped[CreatedAt]
