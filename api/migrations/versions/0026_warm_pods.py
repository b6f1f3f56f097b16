"""Which pods an organisation keeps warm."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the column."""
    op.add_column("organizations", sa.Column("warm_pods", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Take it back: every pod is started when it is needed."""
    op.drop_column("organizations", "warm_pods")
