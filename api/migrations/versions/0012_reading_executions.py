"""Lists of executions, live events, and variables by environment."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

BY_TIME = "ix_workflow_executions_organization_id_agent_id_accepted_at"
BY_WORKFLOW = "ix_workflow_executions_organization_id_agent_id_id"
BY_STATUS = "ix_workflow_executions_organization_id_status_id"
BY_ERROR = "ix_workflow_executions_error_code"
# json's own functions refuse a document that holds \u0000 anywhere, and a header of a webhook may. In such a document
# the first type is that of the trigger: headers come later.
_TYPE = (
    r"CASE WHEN strpos(CAST(trigger AS text), '\u0000') = 0 THEN trigger ->> 'type'"
    r""" ELSE substring(CAST(trigger AS text) from '"type"\s*:\s*"([a-z]+)"') END"""
)
_CODE = (
    r"CASE WHEN strpos(CAST(error AS text), '\u0000') = 0 THEN error ->> 'code'"
    r""" ELSE substring(CAST(error AS text) from '"code"\s*:\s*"([a-z0-9_]+)"') END"""
)


def upgrade() -> None:
    """Make the columns and the indexes."""
    add = op.add_column
    add("workflow_executions", sa.Column("environment", sa.Text(), server_default="default", nullable=False))
    add("workflow_executions", sa.Column("secret_vars", sa.ARRAY(sa.Text()), nullable=True))
    add("workflow_executions", sa.Column("trigger_type", sa.Text(), server_default="manual", nullable=False))
    add("workflow_executions", sa.Column("error_code", sa.Text(), nullable=True))
    add("workflow_executions", sa.Column("watched_until", sa.DateTime(timezone=True), nullable=True))
    # Only texts of this file.
    op.execute(f"UPDATE workflow_executions SET trigger_type = coalesce({_TYPE}, 'manual'), error_code = {_CODE}")  # noqa: S608
    # An id of version 7 is the time of acceptance: one order for lists, cursors and partitions.
    op.drop_index(BY_TIME, table_name="workflow_executions")
    op.create_index(BY_WORKFLOW, "workflow_executions", ["organization_id", "agent_id", "id"])
    op.create_index(BY_STATUS, "workflow_executions", ["organization_id", "status", "id"])
    op.create_index(
        BY_ERROR,
        "workflow_executions",
        ["organization_id", "error_code", "id"],
        postgresql_where=sa.text("error_code IS NOT NULL"),
    )

    add("variables", sa.Column("environment", sa.Text(), server_default="default", nullable=False))
    add("variables", sa.Column("secret", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    add("variables", sa.Column("sealed", sa.LargeBinary(), nullable=True))
    op.alter_column("variables", "value", existing_type=sa.JSON(), nullable=True)
    op.drop_constraint("pk_variables", "variables")
    op.create_primary_key("pk_variables", "variables", ["organization_id", "environment", "name"])
    op.create_check_constraint(
        "sealed", "variables", "secret = (sealed IS NOT NULL) AND NOT (secret AND value IS NOT NULL)"
    )


def downgrade() -> None:
    """Take it back. Secret variables and those of other environments are lost: nothing could read them."""
    op.execute("DELETE FROM variables WHERE secret OR environment <> 'default'")
    op.execute("UPDATE variables SET value = 'null' WHERE value IS NULL")
    op.drop_constraint("ck_variables_sealed", "variables")
    op.drop_constraint("pk_variables", "variables")
    op.create_primary_key("pk_variables", "variables", ["organization_id", "name"])
    op.alter_column("variables", "value", existing_type=sa.JSON(), nullable=False)
    for column in ("environment", "secret", "sealed"):
        op.drop_column("variables", column)
    for name in (BY_ERROR, BY_STATUS, BY_WORKFLOW):
        op.drop_index(name, table_name="workflow_executions")
    op.create_index(BY_TIME, "workflow_executions", ["organization_id", "agent_id", "accepted_at"])
    for column in ("environment", "secret_vars", "trigger_type", "error_code", "watched_until"):
        op.drop_column("workflow_executions", column)
