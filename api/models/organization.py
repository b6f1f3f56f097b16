"""Organisations and their variables."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import CheckConstraint, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from api.models.base import Base, CreatedAt, OptionalJson, OrganizationKey, TextKey, Timestamp


class Organization(Base):
    """A tenant. ``slug`` stands in URLs and DAG ids.

    While ``paused_at`` is set, none of its executions is given to Airflow; ``resumed_at`` is when the last pause ended.
    """

    __tablename__ = "organizations"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"))
    slug: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    created_at: Mapped[CreatedAt]
    paused_at: Mapped[Timestamp | None]
    resumed_at: Mapped[Timestamp | None]


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
