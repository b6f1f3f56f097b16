"""Approvals."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "approvals",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("execution_id", sa.Uuid(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("step_id", sa.Text(), nullable=False),
        sa.Column("current", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("title", sa.JSON(), nullable=False),
        sa.Column("body", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("assignees", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("on_timeout", sa.Text(), nullable=False),
        sa.Column("decision", sa.Text(), nullable=True),
        sa.Column("comment", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("decided_by", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("via", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["organization_id", "execution_id"],
            ["workflow_executions.organization_id", "workflow_executions.id"],
            name=op.f("fk_approvals_organization_id_execution_id_workflow_executions"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_approvals_organization_id_organizations")
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_approvals")),
    )
    op.create_index(
        "uq_approvals_of_a_step",
        "approvals",
        ["organization_id", "execution_id", "epoch", "step_id"],
        unique=True,
        postgresql_where=sa.text("current"),
    )
    op.create_index(
        "ix_approvals_open",
        "approvals",
        ["organization_id", "id"],
        unique=False,
        postgresql_where=sa.text("current AND decision IS NULL"),
    )


def downgrade() -> None:
    """Take it back."""
    op.drop_index("ix_approvals_open", table_name="approvals", postgresql_where=sa.text("current AND decision IS NULL"))
    op.drop_index("uq_approvals_of_a_step", table_name="approvals", postgresql_where=sa.text("current"))
    op.drop_table("approvals")
