"""Retention by organisation, and organisations that are to be deleted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from api.migrations.tenancy import SYSTEM

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

COLUMNS = ("retention_days", "audit_retention_days", "deletion_due_at", "deletion_began_at")
CHECKS = {"retention_days": "retention_days >= 1", "audit_retention_days": "audit_retention_days >= 30"}

# Like the removal of old entries the owner's: the application cannot empty the log of an organisation that stays.
FORGET = """
    CREATE FUNCTION governance.forget_audit(organization uuid, most integer) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        removed bigint;
    BEGIN
        PERFORM FROM public.organizations WHERE id = organization AND deletion_due_at <= now()
            AND deletion_began_at IS NOT NULL;
        IF NOT FOUND THEN
            RAISE 'the audit log must be kept until the deletion of its organisation'
                USING ERRCODE = 'invalid_parameter_value';
        END IF;
        DELETE FROM public.audit_log WHERE organization_id = organization AND id IN (
            SELECT id FROM public.audit_log WHERE organization_id = organization ORDER BY id LIMIT most);
        GET DIAGNOSTICS removed = ROW_COUNT;
        RETURN removed;
    END $$
"""


def upgrade() -> None:
    """Make the change."""
    op.add_column("organizations", sa.Column("retention_days", sa.Integer()))
    op.add_column("organizations", sa.Column("audit_retention_days", sa.Integer()))
    op.add_column("organizations", sa.Column("deletion_due_at", sa.DateTime(timezone=True)))
    op.add_column("organizations", sa.Column("deletion_began_at", sa.DateTime(timezone=True)))
    for name, rule in CHECKS.items():
        op.create_check_constraint(op.f(f"ck_organizations_{name}"), "organizations", rule)
    op.execute(FORGET)
    op.execute("REVOKE ALL ON FUNCTION governance.forget_audit(uuid, integer) FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION governance.forget_audit(uuid, integer) TO {SYSTEM}")


def downgrade() -> None:
    """Take it back: no deletion is due any more."""
    op.execute("DROP FUNCTION governance.forget_audit(uuid, integer)")
    for name in CHECKS:
        op.drop_constraint(op.f(f"ck_organizations_{name}"), "organizations")
    for name in COLUMNS:
        op.drop_column("organizations", name)
