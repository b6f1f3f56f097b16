"""Events, limits of concurrency, cancelling"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _new_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("relayed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("concurrency_limit", sa.Integer(), nullable=True),
        sa.Column("concurrency_key", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("depth", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("parent_execution_id", sa.Uuid(), nullable=True),
        sa.Column("error_of", sa.Uuid(), nullable=True),
        sa.Column("error_handling", sa.JSON(none_as_null=True), nullable=True),
    ]


def upgrade() -> None:
    """Make the change."""
    for column in _new_columns():
        op.add_column("workflow_executions", column)
    # What runs already takes up a place.
    op.execute(
        "UPDATE workflow_executions e SET relayed_at = coalesce(started_at, accepted_at)"
        " WHERE NOT EXISTS (SELECT FROM outbox o"
        " WHERE o.organization_id = e.organization_id AND o.execution_id = e.id AND NOT o.dead)"
    )
    op.create_index(
        "ix_workflow_executions_unfinished",
        "workflow_executions",
        ["organization_id", "agent_id", "concurrency_key"],
        unique=False,
        postgresql_where=sa.text("completed_at IS NULL"),
    )
    op.create_index(
        "ix_workflow_executions_parent",
        "workflow_executions",
        ["organization_id", "parent_execution_id"],
        unique=False,
        postgresql_where=sa.text("parent_execution_id IS NOT NULL"),
    )
    op.add_column("outbox", sa.Column("kind", sa.Text(), server_default="start", nullable=False))
    op.drop_constraint(op.f("uq_outbox_organization_id_execution_id"), "outbox", type_="unique")
    op.create_unique_constraint(
        op.f("uq_outbox_organization_id_execution_id_kind"), "outbox", ["organization_id", "execution_id", "kind"]
    )
    op.create_table(
        "event_subscriptions",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("agent_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("filter", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["organization_id", "agent_id"],
            ["agents.organization_id", "agents.id"],
            name=op.f("fk_event_subscriptions_organization_id_agent_id_agents"),
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_event_subscriptions_organization_id_organizations")
        ),
        sa.PrimaryKeyConstraint("organization_id", "agent_id", "number", name=op.f("pk_event_subscriptions")),
    )
    op.create_index(
        op.f("ix_event_subscriptions_organization_id_type"),
        "event_subscriptions",
        ["organization_id", "type"],
        unique=False,
    )
    op.create_table(
        "received_events",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("started", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_received_events_organization_id_organizations")
        ),
        sa.PrimaryKeyConstraint("organization_id", "source", "id", name=op.f("pk_received_events")),
    )
    op.create_index(
        op.f("ix_received_events_organization_id_received_at"),
        "received_events",
        ["organization_id", "received_at"],
        unique=False,
    )


def downgrade() -> None:
    """Take it back."""
    op.drop_index(op.f("ix_received_events_organization_id_received_at"), table_name="received_events")
    op.drop_table("received_events")
    op.drop_index(op.f("ix_event_subscriptions_organization_id_type"), table_name="event_subscriptions")
    op.drop_table("event_subscriptions")
    op.execute("DELETE FROM outbox WHERE kind <> 'start'")
    op.drop_constraint(op.f("uq_outbox_organization_id_execution_id_kind"), "outbox", type_="unique")
    op.drop_column("outbox", "kind")
    op.create_unique_constraint(
        op.f("uq_outbox_organization_id_execution_id"), "outbox", ["organization_id", "execution_id"]
    )
    op.drop_index("ix_workflow_executions_parent", table_name="workflow_executions")
    op.drop_index("ix_workflow_executions_unfinished", table_name="workflow_executions")
    for column in reversed(_new_columns()):
        op.drop_column("workflow_executions", column.name)
