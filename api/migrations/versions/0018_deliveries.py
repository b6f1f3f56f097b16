"""Messages to others, and who subscribed to them"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

from api.migrations.tenancy import protect

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

SUBSCRIPTIONS, DELIVERIES = "webhook_subscriptions", "webhook_deliveries"


def upgrade() -> None:
    """Make the tables."""
    _make_subscriptions()
    _make_deliveries()
    protect(SUBSCRIPTIONS)
    protect(DELIVERIES)


def _make_subscriptions() -> None:
    op.create_table(
        SUBSCRIPTIONS,
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("event_types", ARRAY(sa.Text()), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_webhook_subscriptions_organization_id_organizations"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_webhook_subscriptions")),
    )


def _make_deliveries() -> None:
    op.create_table(
        DELIVERIES,
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("execution_id", sa.Uuid(), nullable=True),
        sa.Column("subscription_id", sa.Uuid(), nullable=True),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("available_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("response_status", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_webhook_deliveries_organization_id_organizations")
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "subscription_id"],
            ["webhook_subscriptions.organization_id", "webhook_subscriptions.id"],
            name=op.f("fk_webhook_deliveries_organization_id_subscription_id_webhook_subscriptions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_webhook_deliveries")),
    )
    op.create_index(
        "ix_webhook_deliveries_due",
        DELIVERIES,
        ["organization_id", "available_at"],
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_index(
        "ix_webhook_deliveries_waiting",
        DELIVERIES,
        ["organization_id", "execution_id"],
        postgresql_where=sa.text("status = 'waiting'"),
    )
    op.create_index(
        op.f("ix_webhook_deliveries_organization_id_subscription_id"),
        DELIVERIES,
        ["organization_id", "subscription_id"],
    )
    op.create_index(op.f("ix_webhook_deliveries_ended_at"), DELIVERIES, ["ended_at"])


def downgrade() -> None:
    """Remove them."""
    op.drop_table(DELIVERIES)
    op.drop_table(SUBSCRIPTIONS)
