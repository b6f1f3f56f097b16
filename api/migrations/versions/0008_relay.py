"""Lanes of the outbox, pauses, dead letters, and keys of repeated requests."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

PAUSABLE = ("organizations", "agents")
AT_WORK = sa.text("completed_at IS NULL AND relayed_at IS NOT NULL")
WAITING = sa.text("NOT dead AND kind <> 'stop' AND attempts = 0")
RETURNING = sa.text("NOT dead AND (kind = 'stop' OR attempts > 0)")
LIVE = sa.text("NOT dead")


def upgrade() -> None:
    """Make the columns, the indexes and the table."""
    for table in PAUSABLE:
        op.add_column(table, sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True))
        op.add_column(table, sa.Column("resumed_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("outbox", sa.Column("called", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("outbox", sa.Column("concurrency_key", sa.Text(), server_default=sa.text("''"), nullable=False))
    op.add_column("outbox", sa.Column("buried_at", sa.DateTime(timezone=True), nullable=True))
    op.execute(
        "UPDATE outbox o SET called = e.parent_execution_id IS NOT NULL, concurrency_key = e.concurrency_key,"
        " buried_at = CASE WHEN o.dead THEN coalesce(e.completed_at, now()) END"
        " FROM workflow_executions e WHERE e.organization_id = o.organization_id AND e.id = o.execution_id"
    )
    op.create_index(
        "ix_workflow_executions_at_work",
        "workflow_executions",
        ["organization_id", "agent_id", "concurrency_key"],
        unique=False,
        postgresql_where=AT_WORK,
    )
    op.drop_index("ix_outbox_available_at", table_name="outbox", postgresql_where=LIVE)
    op.create_index(
        "ix_outbox_waiting",
        "outbox",
        ["organization_id", "agent_id", "called", "concurrency_key", "id"],
        unique=False,
        postgresql_where=WAITING,
    )
    op.create_index("ix_outbox_returning", "outbox", ["available_at"], unique=False, postgresql_where=RETURNING)
    op.create_index(
        "ix_outbox_dead", "outbox", ["organization_id", "id"], unique=False, postgresql_where=sa.text("dead")
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("execution_id", sa.Uuid(), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id", "execution_id"],
            ["workflow_executions.organization_id", "workflow_executions.id"],
            name=op.f("fk_idempotency_keys_organization_id_execution_id_workflow_executions"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_idempotency_keys_organization_id_organizations")
        ),
        sa.PrimaryKeyConstraint("organization_id", "scope", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index(
        op.f("ix_idempotency_keys_organization_id_received_at"),
        "idempotency_keys",
        ["organization_id", "received_at"],
        unique=False,
    )


def downgrade() -> None:
    """Take them back."""
    op.drop_table("idempotency_keys")
    op.drop_index("ix_outbox_dead", table_name="outbox", postgresql_where=sa.text("dead"))
    op.drop_index("ix_outbox_returning", table_name="outbox", postgresql_where=RETURNING)
    op.drop_index("ix_outbox_waiting", table_name="outbox", postgresql_where=WAITING)
    op.create_index("ix_outbox_available_at", "outbox", ["available_at"], unique=False, postgresql_where=LIVE)
    op.drop_index("ix_workflow_executions_at_work", table_name="workflow_executions", postgresql_where=AT_WORK)
    for column in ("buried_at", "concurrency_key", "called"):
        op.drop_column("outbox", column)
    for table in PAUSABLE:
        op.drop_column(table, "resumed_at")
        op.drop_column(table, "paused_at")
