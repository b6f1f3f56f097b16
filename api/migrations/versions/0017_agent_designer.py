"""Agents with drafts, templates and reviews."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0009"
branch_labels = None
depends_on = None

NOW = sa.text("now()")


def upgrade() -> None:
    """Make the change."""
    op.add_column("organizations", sa.Column("review_required", sa.Boolean(), server_default="false", nullable=False))
    op.add_column("agents", sa.Column("description", sa.Text()))
    op.add_column("agents", sa.Column("created_by", sa.Text()))
    op.add_column("agents", sa.Column("updated_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False))
    op.add_column("agents", sa.Column("archived_at", sa.DateTime(timezone=True)))
    op.add_column("workflow_versions", _source_digest())
    op.add_column("workflow_versions", sa.Column("created_by", sa.Text()))
    op.add_column("workflow_versions", sa.Column("restored_from", sa.Integer()))
    _make_drafts()
    _make_templates()
    _make_reviews()


def downgrade() -> None:
    """Take it back: drafts, templates and reviews are lost; what is archived is open again."""
    for table in ("publish_reviews", "agent_templates", "agent_workflows"):
        op.drop_table(table)
    for column in ("restored_from", "created_by", "source_digest"):
        op.drop_column("workflow_versions", column)
    for column in ("archived_at", "updated_at", "created_by", "description"):
        op.drop_column("agents", column)
    op.drop_column("organizations", "review_required")


def _source_digest() -> sa.Column[str]:
    digest = sa.Computed("encode(sha256(source), 'hex')", persisted=True)
    return sa.Column("source_digest", sa.Text(), digest, nullable=False)


def _make_drafts() -> None:
    op.create_table(
        "agent_workflows",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("agent_id", sa.Uuid(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("source", sa.LargeBinary(), nullable=False),
        _source_digest(),
        sa.Column("canvas", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("updated_by", sa.Text(), nullable=True),
        *_keys("agent_workflows", "agent_id"),
        _of_agent("agent_workflows"),
    )


def _make_templates() -> None:
    op.create_table(
        "agent_templates",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("source", sa.LargeBinary(), nullable=False),
        sa.Column("canvas", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=True),
        *_keys("agent_templates", "id"),
    )


def _make_reviews() -> None:
    op.create_table(
        "publish_reviews",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("agent_id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("subject", sa.JSON(), nullable=False),
        sa.Column("source", sa.LargeBinary(), nullable=False),
        sa.Column("author", sa.Text(), nullable=True),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("decision", sa.Text(), nullable=True),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        *_keys("publish_reviews", "id"),
        _of_agent("publish_reviews"),
    )
    op.create_index(op.f("ix_publish_reviews_organization_id_digest"), "publish_reviews", ["organization_id", "digest"])


def _keys(table: str, column: str) -> tuple[sa.Constraint, sa.Constraint]:
    return (
        sa.PrimaryKeyConstraint("organization_id", column, name=op.f(f"pk_{table}")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f(f"fk_{table}_organization_id_organizations")
        ),
    )


def _of_agent(table: str) -> sa.Constraint:
    return sa.ForeignKeyConstraint(
        ["organization_id", "agent_id"],
        ["agents.organization_id", "agents.id"],
        name=op.f(f"fk_{table}_organization_id_agent_id_agents"),
        ondelete="CASCADE",
    )
