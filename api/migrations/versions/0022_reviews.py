"""Reviews before publish: who wrote a draft, who approved which digest, and whether an organisation asks for it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from api.migrations.tenancy import protect

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

NOW = sa.text("now()")
NO_TEXTS = sa.text("'{}'::text[]")


def upgrade() -> None:
    """Make the change."""
    op.add_column("agent_workflows", sa.Column("authors", sa.ARRAY(sa.Text()), server_default=NO_TEXTS, nullable=False))
    # Who changed it before the last one is not known.
    op.execute("UPDATE agent_workflows SET authors = ARRAY[updated_by] WHERE updated_by IS NOT NULL")
    _make_policies()
    protect("review_policies")
    _make_reviews()
    protect("agent_reviews")


def downgrade() -> None:
    """Take it back: reviews are lost, and no organisation asks for one."""
    op.drop_table("agent_reviews")
    op.drop_table("review_policies")
    op.drop_column("agent_workflows", "authors")


def _organization(table: str) -> sa.ForeignKeyConstraint:
    name = f"fk_{table}_organization_id_organizations"
    return sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f(name))


def _make_policies() -> None:
    op.create_table(
        "review_policies",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("required", sa.Boolean(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", name=op.f("pk_review_policies")),
        _organization("review_policies"),
    )


def _make_reviews() -> None:
    op.create_table(
        "agent_reviews",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("agent_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer()),
        sa.Column("source", sa.LargeBinary(), nullable=False),
        sa.Column("plan_digest", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("coverage", sa.JSON(), nullable=False),
        sa.Column("authors", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("note", sa.Text()),
        sa.Column("requested_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("decision", sa.Text()),
        sa.Column("decided_at", sa.DateTime(timezone=True)),
        sa.Column("decided_by", sa.Text()),
        sa.Column("comment", sa.Text()),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_agent_reviews")),
        _organization("agent_reviews"),
        sa.ForeignKeyConstraint(
            ["organization_id", "agent_id"],
            ["agents.organization_id", "agents.id"],
            name=op.f("fk_agent_reviews_organization_id_agent_id_agents"),
            ondelete="CASCADE",
        ),
        sa.CheckConstraint("decision IN ('approve', 'reject')", name=op.f("ck_agent_reviews_decision")),
        sa.CheckConstraint(
            "(decision IS NULL) = (decided_at IS NULL) AND (decision IS NULL) = (decided_by IS NULL)",
            name=op.f("ck_agent_reviews_decided"),
        ),
        sa.CheckConstraint(
            "decision IS DISTINCT FROM 'approve' OR NOT (decided_by = ANY (authors) OR decided_by = requested_by)",
            name=op.f("ck_agent_reviews_four_eyes"),
        ),
    )
    columns = ["organization_id", "agent_id", "fingerprint"]
    op.create_index(op.f("ix_agent_reviews_organization_id_agent_id_fingerprint"), "agent_reviews", columns)
