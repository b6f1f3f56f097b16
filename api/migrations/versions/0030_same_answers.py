"""What a request was answered, for the same request again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the column. What was answered before is not known: that answer is made anew."""
    op.add_column("idempotency_keys", sa.Column("answer", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Take it back."""
    op.drop_column("idempotency_keys", "answer")
