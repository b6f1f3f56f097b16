"""Executions that steps start"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the change."""
    op.add_column("workflow_executions", sa.Column("caller", sa.Text(), nullable=True))
    op.create_index(
        "ix_workflow_executions_caller",
        "workflow_executions",
        ["organization_id", "caller"],
        unique=True,
        postgresql_where=sa.text("caller IS NOT NULL"),
    )


def downgrade() -> None:
    """Take it back."""
    op.drop_index("ix_workflow_executions_caller", table_name="workflow_executions")
    op.drop_column("workflow_executions", "caller")
