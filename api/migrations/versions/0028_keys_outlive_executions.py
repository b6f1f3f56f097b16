"""Idempotency keys that stay when their execution goes: a signed message is known as long as its signature counts."""

from __future__ import annotations

from alembic import op

revision = "0028"
down_revision = "0026"
branch_labels = None
depends_on = None

TABLE = "idempotency_keys"
REFERENCE = "fk_idempotency_keys_organization_id_execution_id_workflow_executions"


def upgrade() -> None:
    """Take the reference away; the id of the execution stays."""
    op.drop_constraint(op.f(REFERENCE), TABLE)


def downgrade() -> None:
    """Put it back. Keys whose execution is gone go: they would have gone with it."""
    op.execute(
        "DELETE FROM idempotency_keys k WHERE k.execution_id IS NOT NULL AND NOT EXISTS (SELECT FROM"
        " workflow_executions e WHERE e.organization_id = k.organization_id AND e.id = k.execution_id)"
    )
    op.create_foreign_key(
        op.f(REFERENCE),
        TABLE,
        "workflow_executions",
        ["organization_id", "execution_id"],
        ["organization_id", "id"],
        ondelete="CASCADE",
    )
