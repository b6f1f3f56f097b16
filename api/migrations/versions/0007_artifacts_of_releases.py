"""What a release holds, by the files that come and go instead of a list of all for each."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

FROM_MANIFESTS = """
    INSERT INTO release_artifacts (organization_id, name, valid_from, valid_to, sha256, size)
    SELECT o.id, entries.name, number, lead(number) OVER (PARTITION BY entries.name ORDER BY number), sha256, size
    FROM (
        SELECT number, name, sha256, size, lag(sha256) OVER (PARTITION BY name ORDER BY number) AS sha256_before
        FROM releases, json_to_recordset(manifest) AS entry (name text, sha256 text, size integer)
    ) AS entries
    JOIN organizations o ON o.slug = split_part(entries.name, '__', 1)
    WHERE sha256_before IS DISTINCT FROM sha256
"""

TO_MANIFESTS = """
    UPDATE releases SET manifest = coalesce(
        (
            SELECT json_agg(json_build_object('name', name, 'sha256', sha256, 'size', size) ORDER BY name COLLATE "C")
            FROM release_artifacts
            WHERE valid_from <= number AND (valid_to IS NULL OR valid_to > number)
        ),
        '[]'
    )
"""


def upgrade() -> None:
    """Make the table, fill it from the lists, drop the lists."""
    op.create_table(
        "release_artifacts",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("valid_from", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("valid_to", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_release_artifacts_organization_id_organizations")
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "sha256"],
            ["artifacts.organization_id", "artifacts.sha256"],
            name=op.f("fk_release_artifacts_organization_id_sha256_artifacts"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "name", "valid_from", name=op.f("pk_release_artifacts")),
    )
    for columns in (["organization_id", "sha256"], ["valid_from"], ["valid_to"]):
        op.create_index(op.f(f"ix_release_artifacts_{'_'.join(columns)}"), "release_artifacts", columns)
    op.execute(FROM_MANIFESTS)
    op.drop_column("releases", "manifest")


def downgrade() -> None:
    """Take it back: a list for each release."""
    op.add_column("releases", sa.Column("manifest", sa.JSON(), nullable=True))
    op.execute(TO_MANIFESTS)
    op.alter_column("releases", "manifest", nullable=False)
    op.drop_table("release_artifacts")
