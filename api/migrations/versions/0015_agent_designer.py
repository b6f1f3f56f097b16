"""Agents with drafts, and versions that say who made them and from what."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from api.migrations.tenancy import protect

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

NOW = sa.text("now()")


def upgrade() -> None:
    """Make the change."""
    op.add_column("agents", sa.Column("description", sa.Text()))
    op.add_column("agents", sa.Column("created_by", sa.Text()))
    op.add_column("agents", sa.Column("updated_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False))
    op.add_column("agents", sa.Column("archived_at", sa.DateTime(timezone=True)))
    op.add_column("workflow_versions", _source_digest())
    op.add_column("workflow_versions", sa.Column("created_by", sa.Text()))
    op.add_column("workflow_versions", sa.Column("restored_from", sa.Integer()))
    _make_drafts()
    protect("agent_workflows")


def downgrade() -> None:
    """Take it back: drafts are lost, and agents with nothing else; what is archived is open again."""
    op.drop_table("agent_workflows")
    # Before there were drafts, each agent had a version.
    op.execute(
        "DELETE FROM agents a WHERE NOT EXISTS (SELECT FROM workflow_versions v"
        " WHERE v.organization_id = a.organization_id AND v.agent_id = a.id)"
    )
    for column in ("restored_from", "created_by", "source_digest"):
        op.drop_column("workflow_versions", column)
    for column in ("archived_at", "updated_at", "created_by", "description"):
        op.drop_column("agents", column)


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
        sa.PrimaryKeyConstraint("organization_id", "agent_id", name=op.f("pk_agent_workflows")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_agent_workflows_organization_id_organizations")
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "agent_id"],
            ["agents.organization_id", "agents.id"],
            name=op.f("fk_agent_workflows_organization_id_agent_id_agents"),
            ondelete="CASCADE",
        ),
    )
