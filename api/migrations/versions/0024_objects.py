"""Large outputs and artifacts as objects: the tables hold digests, sizes and places."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from api.migrations.tenancy import protect

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the change."""
    for table in ("execution_steps", "workflow_executions"):
        op.add_column(table, sa.Column("output_ref", sa.JSON()))
    op.add_column("artifacts", sa.Column("location", sa.Text()))
    op.alter_column("artifacts", "content", nullable=True)
    op.create_check_constraint(op.f("ck_artifacts_place"), "artifacts", "num_nonnulls(content, location) = 1")
    op.create_table(
        "stored_outputs",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("execution_id", sa.Uuid(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "execution_id", "sha256", name=op.f("pk_stored_outputs")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_stored_outputs_organization_id_organizations")
        ),
    )
    op.create_index(op.f("ix_stored_outputs_organization_id_sha256"), "stored_outputs", ["organization_id", "sha256"])
    protect("stored_outputs")


def downgrade() -> None:
    """Take it back: large outputs are lost.

    Where artifacts are objects PostgreSQL refuses it, for their bytes are not in the table.
    """
    op.drop_table("stored_outputs")
    op.drop_constraint(op.f("ck_artifacts_place"), "artifacts")
    op.alter_column("artifacts", "content", nullable=False)
    op.drop_column("artifacts", "location")
    for table in ("workflow_executions", "execution_steps"):
        op.drop_column(table, "output_ref")
