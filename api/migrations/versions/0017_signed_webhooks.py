"""Idempotency keys that expire each in its own time: a signed message is known for as long as its signature counts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0015"
branch_labels = None
depends_on = None

TABLE = "idempotency_keys"


def upgrade() -> None:
    """Make the column; what is there expires after the day that every key had."""
    op.add_column(TABLE, sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE idempotency_keys SET expires_at = received_at + interval '24 hours'")
    op.alter_column(TABLE, "expires_at", nullable=False)
    op.drop_index("ix_idempotency_keys_organization_id_received_at", table_name=TABLE)
    op.create_index(op.f("ix_idempotency_keys_expires_at"), TABLE, ["expires_at"])


def downgrade() -> None:
    """Take it back."""
    op.drop_index(op.f("ix_idempotency_keys_expires_at"), table_name=TABLE)
    op.create_index("ix_idempotency_keys_organization_id_received_at", TABLE, ["organization_id", "received_at"])
    op.drop_column(TABLE, "expires_at")
