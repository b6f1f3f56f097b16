"""Executions that run again"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the change."""
    op.add_column("workflow_executions", sa.Column("life", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("workflow_executions", sa.Column("reopened_at", sa.DateTime(timezone=True), nullable=True))
    # What steps have begun elsewhere is named by it.
    op.execute("UPDATE workflow_executions SET life = clear_number WHERE status <> 'pending' AND clear_number > 0")
    op.add_column("execution_steps", sa.Column("current", sa.Boolean(), server_default=sa.text("true"), nullable=False))


def downgrade() -> None:
    """Take it back."""
    # Without the column the newest epoch counts, whatever became of it.
    op.execute("DELETE FROM execution_steps WHERE NOT current")
    op.execute("DELETE FROM outbox WHERE kind = 'restart'")
    op.drop_column("execution_steps", "current")
    op.drop_column("workflow_executions", "reopened_at")
    op.drop_column("workflow_executions", "life")
