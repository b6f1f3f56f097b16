"""When the jobs of upkeep last began, by which they see that the clock has leapt."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from api.migrations.tenancy import reserve

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "upkeep_runs",
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("job", name=op.f("pk_upkeep_runs")),
    )
    reserve("upkeep_runs")


def downgrade() -> None:
    """Remove it."""
    op.drop_table("upkeep_runs")
