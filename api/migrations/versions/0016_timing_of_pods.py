"""Where the time of a step in a pod went."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the column; partitions get it with their table."""
    op.add_column("execution_steps", sa.Column("timing", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Take it back."""
    op.drop_column("execution_steps", "timing")
