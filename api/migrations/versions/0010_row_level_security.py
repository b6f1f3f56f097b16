"""Row-level security on every table of tenants, and an application that owns none of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from api.migrate import VERSION_TABLE
from api.migrations.tenancy import SYSTEM, make_roles, protect, share, unprotect, unshare

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TABLES = (
    "adopted_runs", "agents", "approvals", "artifacts", "event_subscriptions", "execution_steps", "idempotency_keys",
    "leases", "outbox", "prepared_inputs", "received_events", "release_artifacts", "variables", "webhook_routes",
    "workflow_executions", "workflow_versions",
)  # fmt: skip
PARTITIONED = ("workflow_executions", "execution_steps")

# Of the owner's rights the system's role gets these two, for these two tables and whole months only. Each names what
# it touches in full, so that nobody can put another table in its place.
FUNCTIONS = (
    """
    CREATE FUNCTION partitions.checked_name(parent text, month date) RETURNS text LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        IF parent IS NULL OR parent NOT IN ('workflow_executions', 'execution_steps') THEN
            RAISE 'parent must be workflow_executions or execution_steps; got %', parent
                USING ERRCODE = 'invalid_parameter_value';
        ELSIF month IS NULL OR month <> date_trunc('month', CAST(month AS timestamp)) OR month < DATE '1970-01-01' THEN
            RAISE 'month must be the first day of a month since 1970; got %', month
                USING ERRCODE = 'invalid_parameter_value';
        END IF;
        RETURN parent || '_' || to_char(CAST(month AS timestamp), 'YYYY_MM');
    END $$
    """,
    # The smallest uuid of version 7 of a month.
    """
    CREATE FUNCTION partitions.first_id(month date) RETURNS uuid LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp AS $$
        SELECT CAST(lpad(to_hex(CAST(extract(epoch FROM CAST(month AS timestamp)) * 1000 AS bigint)), 12, '0')
            || '70008000000000000000' AS uuid)
    $$
    """,
    # Whoever has rights on a partition reads it past the policies of its table: so the application has none, and the
    # policy here lets nobody but the system's role see a row, whatever default privileges a database may have.
    f"""
    CREATE FUNCTION partitions.guard(name text) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        EXECUTE format('ALTER TABLE partitions.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY of_system ON partitions.%I TO {SYSTEM} USING (true)', name);
        EXECUTE format('GRANT SELECT, UPDATE, DELETE, MAINTAIN ON partitions.%I TO {SYSTEM}', name);
    END $$
    """,
    """
    CREATE FUNCTION partitions.make(parent text, month date) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        name text := partitions.checked_name(parent, month);
    BEGIN
        IF to_regclass(format('partitions.%I', name)) IS NOT NULL THEN
            RETURN;
        END IF;
        EXECUTE format('CREATE TABLE partitions.%I PARTITION OF public.%I FOR VALUES FROM (%L) TO (%L)',
            name, parent, partitions.first_id(month),
            partitions.first_id(CAST(month + INTERVAL '1 month' AS date)));
        PERFORM partitions.guard(name);
    END $$
    """,
    # PostgreSQL drops no part of a table that others refer to: it is detached first.
    """
    CREATE FUNCTION partitions.remove(parent text, month date) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        name text := partitions.checked_name(parent, month);
        in_use boolean := false;
        executions text := partitions.checked_name('workflow_executions', month);
    BEGIN
        IF to_regclass(format('partitions.%I', name)) IS NULL THEN
            RETURN;
        END IF;
        IF to_regclass(format('partitions.%I', executions)) IS NOT NULL THEN
            EXECUTE format('SELECT EXISTS (SELECT FROM partitions.%I WHERE %L OR completed_at IS NULL)',
                executions, parent = 'workflow_executions') INTO in_use;
        END IF;
        IF in_use THEN
            RAISE 'partition % must hold nothing that is in use', name USING ERRCODE = 'object_in_use';
        END IF;
        EXECUTE format('ALTER TABLE public.%I DETACH PARTITION partitions.%I', parent, name);
        EXECUTE format('DROP TABLE partitions.%I', name);
    END $$
    """,
)
NAMES = (
    "remove(text, date)", "make(text, date)", "guard(text)", "first_id(date)", "checked_name(text, date)",
)  # fmt: skip


def upgrade() -> None:
    """Make the change."""
    make_roles()
    op.execute(f"GRANT USAGE ON SCHEMA partitions TO {SYSTEM}")
    for table in TABLES:
        protect(table)
    # Organisations are made and removed by the system's role only.
    protect("organizations", column="id", app="SELECT, UPDATE")
    share("releases", app="SELECT, INSERT")
    share(VERSION_TABLE, app="SELECT", system="SELECT")
    for function in FUNCTIONS:
        op.execute(function)
    for name in NAMES:
        op.execute(f"REVOKE ALL ON FUNCTION partitions.{name} FROM PUBLIC")
    for name in ("make(text, date)", "remove(text, date)"):
        op.execute(f"GRANT EXECUTE ON FUNCTION partitions.{name} TO {SYSTEM}")
    for table in PARTITIONED:
        op.execute(f"GRANT MAINTAIN ON {table} TO {SYSTEM}")
    for name in _partitions():
        op.execute(sa.text("SELECT partitions.guard(:name)").bindparams(name=name))


def downgrade() -> None:
    """Take it back. The roles stay: they belong to the cluster, and other databases may use them."""
    for name in _partitions():
        op.execute(f'REVOKE ALL ON partitions."{name}" FROM {SYSTEM}')
        op.execute(f'DROP POLICY of_system ON partitions."{name}"')
        op.execute(f'ALTER TABLE partitions."{name}" DISABLE ROW LEVEL SECURITY')
    for name in NAMES:
        op.execute(f"DROP FUNCTION partitions.{name}")
    unshare(VERSION_TABLE)
    unshare("releases")
    for table in ("organizations", *TABLES):
        unprotect(table)
    op.execute(f"REVOKE USAGE ON SCHEMA partitions FROM {SYSTEM}")


def _partitions() -> list[str]:
    query = sa.text(
        "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
        " WHERE relkind = 'r' AND relnamespace = CAST('partitions' AS regnamespace) ORDER BY relname"
    )
    return list(op.get_bind().execute(query).scalars())
