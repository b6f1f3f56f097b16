"""Who wrote a version: not always who published it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

NO_TEXTS = sa.text("'{}'::text[]")

# What is known of a version that is there: who published it, who wrote what was reviewed before, and who wrote the
# draft, where that is the same still.
KNOWN = """
    UPDATE workflow_versions v SET authors = ARRAY(
        SELECT author FROM (
            SELECT v.created_by
            UNION SELECT unnest(r.authors) FROM agent_reviews r
                WHERE r.organization_id = v.organization_id AND r.agent_id = v.agent_id
                AND r.plan_digest = v.plan_digest
            UNION SELECT unnest(d.authors) FROM agent_workflows d
                WHERE d.organization_id = v.organization_id AND d.agent_id = v.agent_id
                AND d.source_digest = v.source_digest
        ) AS known (author) WHERE author IS NOT NULL ORDER BY author
    )
"""


def upgrade() -> None:
    """Make the column."""
    column: sa.Column[list[str]] = sa.Column("authors", sa.ARRAY(sa.Text()), server_default=NO_TEXTS, nullable=False)
    op.add_column("workflow_versions", column)
    op.execute(KNOWN)


def downgrade() -> None:
    """Take it back: who published a version counts as its author again."""
    op.drop_column("workflow_versions", "authors")
