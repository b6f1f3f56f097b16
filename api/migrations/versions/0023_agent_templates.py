"""Templates of organisations: workflows to begin with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from api.migrations.tenancy import protect

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

NOW = sa.text("now()")
NO_TEXTS = sa.text("'{}'::text[]")


def upgrade() -> None:
    """Make the change."""
    op.create_table(
        "agent_templates",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text()),
        sa.Column("category", sa.Text()),
        sa.Column("tags", sa.ARRAY(sa.Text()), server_default=NO_TEXTS, nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("source", sa.LargeBinary(), nullable=False),
        sa.Column(
            "source_digest",
            sa.Text(),
            sa.Computed("encode(sha256(source), 'hex')", persisted=True),
            nullable=False,
        ),
        sa.Column("canvas", sa.JSON()),
        sa.Column("input_example", sa.JSON()),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("created_by", sa.Text()),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("updated_by", sa.Text()),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_agent_templates")),
        sa.UniqueConstraint("organization_id", "name", name=op.f("uq_agent_templates_organization_id_name")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_agent_templates_organization_id_organizations")
        ),
    )
    protect("agent_templates")


def downgrade() -> None:
    """Take it back: the organisations' own templates are lost."""
    op.drop_table("agent_templates")
