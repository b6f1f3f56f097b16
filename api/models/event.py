"""Events: who waits for which, and which were heard."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from api.models.base import Base, CreatedAt, OptionalJson, OrganizationKey, TextKey


class EventSubscription(Base):
    """An ``event`` trigger of a workflow's current version; ``number`` is its place among the triggers.

    ``filter`` is one expression, or null.
    """

    __tablename__ = "event_subscriptions"
    __table_args__ = (
        ForeignKeyConstraint(["organization_id", "agent_id"], ["agents.organization_id", "agents.id"]),
        Index(None, "organization_id", "type"),
    )

    organization_id: Mapped[OrganizationKey]
    agent_id: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    type: Mapped[str]
    filter: Mapped[str | None]


class ReceivedEvent(Base):
    """An event that was heard, and what it started: the same event again gets the same answer.

    ``started`` is null only while the transaction that heard it is open.
    """

    __tablename__ = "received_events"
    __table_args__ = (Index(None, "organization_id", "received_at"),)

    organization_id: Mapped[OrganizationKey]
    source: Mapped[TextKey]
    id: Mapped[TextKey]
    type: Mapped[str]
    started: Mapped[OptionalJson]
    received_at: Mapped[CreatedAt]
