"""Messages to the broker: what waits for it is found by an index of its own"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

DELIVERIES = "webhook_deliveries"
DUE, DUE_FOR_BROKER = "ix_webhook_deliveries_due", "ix_webhook_deliveries_due_for_broker"


def upgrade() -> None:
    """Part the index."""
    op.drop_index(DUE, DELIVERIES)
    _make(DUE, "status = 'pending' AND kind <> 'broker'")
    _make(DUE_FOR_BROKER, "status = 'pending' AND kind = 'broker'")


def _make(name: str, where: str) -> None:
    op.create_index(name, DELIVERIES, ["organization_id", "available_at"], postgresql_where=sa.text(where))


def downgrade() -> None:
    """Make it one again. Messages to the broker go: nobody knew what they are, and they have no address."""
    op.drop_index(DUE_FOR_BROKER, DELIVERIES)
    op.drop_index(DUE, DELIVERIES)
    op.execute(f"DELETE FROM {DELIVERIES} WHERE kind = 'broker'")  # noqa: S608  # a name of ours
    _make(DUE, "status = 'pending'")
