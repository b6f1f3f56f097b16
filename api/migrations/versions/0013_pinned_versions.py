"""Pins: versions of workflows that calls name, and executions that run on the DAG of such a version."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from api.migrations.tenancy import protect

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

INDEX = "ix_workflow_executions_pinned"


def upgrade() -> None:
    """Make table, column and index."""
    op.create_table(
        "version_pins",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.Column("workflow_id", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("pinned_version_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_version_pins_organization_id_organizations")
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "version_id"],
            ["workflow_versions.organization_id", "workflow_versions.id"],
            name=op.f("fk_version_pins_organization_id_version_id_workflow_versions"),
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "pinned_version_id"],
            ["workflow_versions.organization_id", "workflow_versions.id"],
            name=op.f("fk_version_pins_organization_id_pinned_version_id_workflow_versions"),
        ),
        sa.PrimaryKeyConstraint(
            "organization_id", "version_id", "workflow_id", "reference", name=op.f("pk_version_pins")
        ),
    )
    protect("version_pins")
    op.add_column("workflow_executions", sa.Column("pinned_dag_id", sa.Text(), nullable=True))
    op.create_index(
        INDEX,
        "workflow_executions",
        ["organization_id", "pinned_dag_id"],
        unique=False,
        postgresql_where=sa.text("pinned_dag_id IS NOT NULL"),
    )


def downgrade() -> None:
    """Take them back."""
    op.drop_index(INDEX, table_name="workflow_executions", postgresql_where=sa.text("pinned_dag_id IS NOT NULL"))
    op.drop_column("workflow_executions", "pinned_dag_id")
    op.drop_table("version_pins")
