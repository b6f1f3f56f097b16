"""Runs that are started in Airflow, and inputs prepared for them"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the change."""
    op.create_table(
        "adopted_runs",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("dag_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("execution_id", sa.Uuid(), nullable=False),
        sa.Column("adopted_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id", "execution_id"],
            ["workflow_executions.organization_id", "workflow_executions.id"],
            name=op.f("fk_adopted_runs_organization_id_execution_id_workflow_executions"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_adopted_runs_organization_id_organizations")
        ),
        sa.PrimaryKeyConstraint("organization_id", "dag_id", "run_id", name=op.f("pk_adopted_runs")),
        sa.UniqueConstraint(
            "organization_id", "execution_id", name=op.f("uq_adopted_runs_organization_id_execution_id")
        ),
    )
    op.create_table(
        "prepared_inputs",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("agent_id", sa.Uuid(), nullable=False),
        sa.Column("input", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id", "agent_id"],
            ["agents.organization_id", "agents.id"],
            name=op.f("fk_prepared_inputs_organization_id_agent_id_agents"),
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_prepared_inputs_organization_id_organizations")
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_prepared_inputs")),
    )


def downgrade() -> None:
    """Take it back."""
    op.drop_table("prepared_inputs")
    op.drop_table("adopted_runs")
