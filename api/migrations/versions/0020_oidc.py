"""Logins by a provider that have begun."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from api.migrations.tenancy import reserve

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table, and the index by which the invitations of an address are found."""
    op.create_table(
        "oidc_flows",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("redirect_uri", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_oidc_flows")),
    )
    reserve("oidc_flows")
    op.create_index(op.f("ix_invitations_email"), "invitations", ["email"])


def downgrade() -> None:
    """Remove them."""
    op.drop_index(op.f("ix_invitations_email"), "invitations")
    op.drop_table("oidc_flows")
