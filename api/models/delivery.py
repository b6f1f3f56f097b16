"""Messages to others: what is to be delivered, and who subscribed to our events."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index, LargeBinary, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import Text

from api.models.base import Base, CreatedAt, NewId, OrganizationKey, Timestamp


class WebhookSubscription(Base):
    """An address that hears our events. ``event_types`` is empty for all of them; ``sealed`` is its signing secret."""

    __tablename__ = "webhook_subscriptions"

    organization_id: Mapped[OrganizationKey]
    id: Mapped[NewId]
    url: Mapped[str]
    event_types: Mapped[list[str]] = mapped_column(ARRAY(Text))
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    paused_at: Mapped[Timestamp | None]
    created_at: Mapped[CreatedAt]


class WebhookDelivery(Base):
    """A message to an address, or to the broker: ``waiting`` for its body, ``pending``, ``delivered`` or ``dead``.

    A callback has an ``execution_id``, a message to a subscriber a ``subscription_id``. That of kind ``broker`` has
    neither an address of its own nor a secret.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "subscription_id"],
            ["webhook_subscriptions.organization_id", "webhook_subscriptions.id"],
            ondelete="CASCADE",
        ),
        Index(
            "ix_webhook_deliveries_due",
            "organization_id",
            "available_at",
            postgresql_where=text("status = 'pending' AND kind <> 'broker'"),
        ),
        Index(
            "ix_webhook_deliveries_due_for_broker",
            "organization_id",
            "available_at",
            postgresql_where=text("status = 'pending' AND kind = 'broker'"),
        ),
        Index(
            "ix_webhook_deliveries_waiting",
            "organization_id",
            "execution_id",
            postgresql_where=text("status = 'waiting'"),
        ),
        Index(None, "organization_id", "subscription_id"),
        Index(None, "ended_at"),
    )

    organization_id: Mapped[OrganizationKey]
    id: Mapped[NewId]
    kind: Mapped[str]
    execution_id: Mapped[UUID | None]
    subscription_id: Mapped[UUID | None]
    event_type: Mapped[str]
    url: Mapped[str]
    body: Mapped[str | None]
    status: Mapped[str]
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    available_at: Mapped[CreatedAt]
    response_status: Mapped[int | None]
    error: Mapped[str | None]
    created_at: Mapped[CreatedAt]
    ended_at: Mapped[Timestamp | None]
