"""The audit log: rows that are added, and removed by nothing but their age."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from api.migrations.tenancy import APP, SYSTEM, protect, reserve

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

TABLES = ("audit_log", "platform_audit_log")

# Of the owner's: the application has no right to remove a row, whatever role it takes. What is younger than 30 days by
# the database's own clock stays, whatever is asked for.
REMOVE = """
    CREATE FUNCTION governance.remove_audit(organization uuid, older_than timestamptz, most integer) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        removed bigint;
    BEGIN
        DELETE FROM public.audit_log WHERE organization_id = organization AND id IN (
            SELECT id FROM public.audit_log
            WHERE organization_id = organization AND at < older_than AND at < now() - INTERVAL '30 days'
            ORDER BY id LIMIT most);
        GET DIAGNOSTICS removed = ROW_COUNT;
        RETURN removed;
    END $$
"""
REFUSE = """
    CREATE FUNCTION governance.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE 'rows of % must stay as they are', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
    END $$
"""


def upgrade() -> None:
    """Make the tables."""
    op.execute("CREATE SCHEMA governance")
    op.create_table(
        "audit_log",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        *_columns("audit_log"),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_audit_log_organization_id_organizations")
        ),
        sa.PrimaryKeyConstraint("organization_id", "id", name=op.f("pk_audit_log")),
    )
    op.create_index(
        op.f("ix_audit_log_organization_id_resource_id"), "audit_log", ["organization_id", "resource", "id"]
    )
    op.create_table(
        "platform_audit_log",
        *_columns("platform_audit_log"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_platform_audit_log")),
    )
    protect("audit_log", app="SELECT, INSERT", system="SELECT, INSERT")
    reserve("platform_audit_log", system="SELECT, INSERT")
    op.execute(REMOVE)
    op.execute(REFUSE)
    op.execute("REVOKE ALL ON FUNCTION governance.remove_audit(uuid, timestamptz, integer) FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION governance.remove_audit(uuid, timestamptz, integer) TO {SYSTEM}")
    op.execute(f"GRANT USAGE ON SCHEMA governance TO {APP}, {SYSTEM}")
    for table in TABLES:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION governance.refuse_change()"
        )


def downgrade() -> None:
    """Remove them, and with them all that they tell."""
    for table in TABLES:
        op.drop_table(table)
    op.execute("DROP SCHEMA governance CASCADE")


def _columns(table: str) -> tuple[Any, ...]:
    kinds = "actor IN ('user', 'api_key', 'operator')"
    return (
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("api_key_id", sa.Uuid(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("before", sa.LargeBinary(), nullable=True),
        sa.Column("after", sa.LargeBinary(), nullable=True),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.CheckConstraint(kinds, name=op.f(f"ck_{table}_actor")),
    )
