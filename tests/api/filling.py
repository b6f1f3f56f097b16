"""Puts many executions into the tables directly, with ids of past months."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from api.upkeep.partitions.months import Month
from api.upkeep.partitions.repository import KEYS, partition

_EXECUTIONS = """
INSERT INTO workflow_executions (organization_id, id, agent_id, version_id, plan_digest, status, trigger, trigger_type,
  input, vars, output, error, error_code, accepted_at, started_at, completed_at, relayed_at)
SELECT organization_id, id, agent_id, version_id, plan_digest, status,
  json_build_object('type', kind, 'headers', json_build_object()), kind, '{"name": "Ann"}', '{}',
  CASE WHEN status = 'success' THEN json_build_object('bye', json_build_object('text', repeat('x', 200))) END,
  CASE WHEN status = 'failed' THEN json_build_object('code', code, 'message', 'it failed') END,
  CASE WHEN status = 'failed' THEN code END,
  at, at + interval '50 ms',
  CASE WHEN status <> 'running' THEN at + (50 + n %% 997) * interval '1 ms' END, at
FROM (
  SELECT v.organization_id, v.agent_id, v.id AS version_id, v.plan_digest, n, made.id,
    uuid_extract_timestamp(made.id) AS at,
    CASE WHEN n %% 100 < 90 THEN 'success' WHEN n %% 100 < 97 THEN 'failed' WHEN n %% 100 < 98 THEN 'cancelled'
      ELSE 'running' END AS status,
    (ARRAY['webhook', 'manual', 'schedule', 'event', 'workflow'])[1 + n %% 5] AS kind,
    (ARRAY['timeout', 'model_error', 'http_error'])[1 + n %% 3] AS code
  FROM workflow_versions v, generate_series(1, %(each)s) n,
    LATERAL (SELECT uuidv7(CAST(%(ends)s AS timestamptz) - now()
      - (n * %(days)s * interval '1 day' / %(each)s) + (v.number * interval '1 ms')) AS id) made
) made
"""
_STEPS = """
INSERT INTO execution_steps (organization_id, execution_id, epoch, step_id, status, output, attempts, started_at,
  ended_at, duration_ms, usage)
SELECT organization_id, id, 0, step, 'success', json_build_object('text', repeat('y', 200)), 1, started_at,
  started_at + interval '10 ms', 10, '[{"model": "m", "provider": "openai", "input_tokens": 20,
   "output_tokens": 5, "cost_usd": 0.001}]'
FROM workflow_executions, unnest(ARRAY['hello', 'bye']) step
"""


def make_months(cursor: Any, count: int) -> list[Month]:
    """Make the partitions of the last months; return them with this one, the oldest first."""
    this = Month.of(datetime.now(UTC))
    months = [this.after(-back) for back in range(count - 1, -1, -1)]
    for month in months:
        for table in KEYS:
            low, high = month.first_id, month.after().first_id
            cursor.execute(
                f"CREATE TABLE IF NOT EXISTS {partition(table, month)} PARTITION OF {table}"
                f" FOR VALUES FROM ('{low}') TO ('{high}')"
            )
    return months


def copy_workflows(cursor: Any, organizations: int) -> None:
    """Give other organisations what the one that is there has published."""
    cursor.execute(
        "INSERT INTO organizations (slug, name) SELECT 'other-' || n, 'other' FROM generate_series(1, %s) n",
        (organizations,),
    )
    for table, columns in (
        ("agents", "id, workflow_id, name"),
        ("artifacts", "sha256, content, size"),
        ("workflow_versions", "id, agent_id, number, label, source, plan_digest, dag_digest, dag_id"),
    ):
        chosen = ", ".join(f"t.{column.strip()}" for column in columns.split(","))
        cursor.execute(
            f"INSERT INTO {table} (organization_id, {columns}) SELECT o.id, {chosen} FROM {table} t, organizations o"
            " WHERE o.slug LIKE 'other-%%' AND t.organization_id <> o.id"
        )


def fill(cursor: Any, *, each: int, days: int, journal: bool = True) -> None:
    """Make executions of every published version of every organisation, spread over days."""
    cursor.execute(_EXECUTIONS, {"each": each, "days": days, "ends": datetime.now(UTC)})
    if journal:
        cursor.execute(_STEPS)
    cursor.execute("ANALYZE workflow_executions, execution_steps")
