# ruff: noqa: S608  Names of tables come from this file and from PostgreSQL.
"""Partitions by month of executions and of their journal."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

AHEAD = 3
KEYS = {"workflow_executions": "id", "execution_steps": "execution_id"}
"""Table -> the column that holds an execution's id, whose first 48 bits are its time."""
CALLER = "INDEX ix_workflow_executions_caller "


class Shape(NamedTuple):
    """What belongs to a table besides its columns, as the statements that make it."""

    constraints: list[tuple[str, str]]
    references: list[tuple[str, str, str]]
    indexes: list[tuple[str, str]]


def upgrade() -> None:
    """Make the change; every row is copied."""
    op.execute("CREATE SCHEMA partitions")
    shapes = _take_apart()
    for table, key in KEYS.items():
        _make(table, f"PARTITION BY RANGE ({key})")
        op.execute(f"CREATE TABLE partitions.{table}_default PARTITION OF {table} DEFAULT")
    for month in _months():
        for table in KEYS:
            op.execute(
                f"CREATE TABLE partitions.{table}_{_name(month)} PARTITION OF {table}"
                f" FOR VALUES FROM ('{_first_id(month)}') TO ('{_first_id(month + 1)}')"
            )
    # A unique index of a partitioned table must hold the key of the partitions; who starts a child locks its caller.
    _put_together(shapes, f"CREATE UNIQUE {CALLER}", f"CREATE {CALLER}")


def downgrade() -> None:
    """Take it back; every row is copied."""
    shapes = _take_apart()
    for table in KEYS:
        _make(table, "")
    _put_together(shapes, f"CREATE {CALLER}", f"CREATE UNIQUE {CALLER}")
    op.execute("DROP SCHEMA partitions")


def _take_apart() -> dict[str, Shape]:
    """Rename the tables to ``<table>_old`` and drop what has a name of its own; return how to make that again."""
    shapes = {table: _shape(table) for table in KEYS}
    for shape in shapes.values():
        for owner, name, _ in shape.references:
            op.execute(f"ALTER TABLE {owner} DROP CONSTRAINT {name}")
    # The journal first: it refers to the executions.
    for table, shape in reversed(shapes.items()):
        for name, _ in shape.constraints:
            op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        for name, _ in shape.indexes:
            op.execute(f"DROP INDEX {name}")
        op.execute(f"ALTER TABLE {table} RENAME TO {table}_old")
    return shapes


def _shape(table: str) -> Shape:
    constraints = _rows(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = CAST(:table AS regclass)"
        " AND contype <> 'n' AND conparentid = 0 ORDER BY contype = 'f'",
        table,
    )
    references = _rows(
        "SELECT CAST(conrelid AS regclass), conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE confrelid = CAST(:table AS regclass) AND conparentid = 0",
        table,
    )
    indexes = _rows(
        "SELECT CAST(indexrelid AS regclass), replace(pg_get_indexdef(indexrelid), ' ON ONLY ', ' ON ') FROM pg_index"
        " WHERE indrelid = CAST(:table AS regclass)"
        " AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u'))",
        table,
    )
    return Shape(
        [(row[0], row[1]) for row in constraints],
        [(row[0], row[1], row[2]) for row in references if row[0] not in KEYS],
        [(row[0], row[1]) for row in indexes],
    )


def _make(table: str, partitioning: str) -> None:
    op.execute(f"CREATE TABLE {table} (LIKE {table}_old INCLUDING DEFAULTS) {partitioning}")


def _put_together(shapes: dict[str, Shape], index: str, becomes: str) -> None:
    """Copy the rows, and make what ``_take_apart`` dropped."""
    for table, shape in shapes.items():
        op.execute(f"INSERT INTO {table} SELECT * FROM {table}_old")
        op.execute(f"DROP TABLE {table}_old")
        for name, definition in shape.constraints:
            op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")
        for _, definition in shape.indexes:
            op.execute(definition.replace(index, becomes))
    for shape in shapes.values():
        for owner, name, definition in shape.references:
            op.execute(f"ALTER TABLE {owner} ADD CONSTRAINT {name} {definition}")


def _rows(query: str, table: str) -> list[tuple[str, ...]]:
    return [tuple(row) for row in op.get_bind().execute(sa.text(query), {"table": table})]


def _months() -> Iterable[int]:
    """Return the months that have executions, this one and the next, counted from the year 0."""
    now: datetime = op.get_bind().execute(sa.text("SELECT now()")).scalar_one()
    query = (
        "SELECT DISTINCT date_trunc('month', uuid_extract_timestamp(id), 'UTC') FROM workflow_executions_old"
        " WHERE uuid_extract_version(id) = 7"
    )
    moments = op.get_bind().execute(sa.text(query))
    this = _month(now)
    # What was made while a clock was wrong may stay with the default partition.
    found = {_month(moment) for moment in moments.scalars() if moment <= now}
    return sorted(found | set(range(this, this + AHEAD + 1)))


def _month(moment: datetime) -> int:
    utc = moment.astimezone(UTC)
    return utc.year * 12 + utc.month - 1


def _name(month: int) -> str:
    return f"{month // 12:04}_{month % 12 + 1:02}"


def _first_id(month: int) -> str:
    """Return the smallest uuid of version 7 of a month."""
    milliseconds = int(datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC).timestamp() * 1000)
    text = f"{milliseconds:012x}"
    return f"{text[:8]}-{text[8:]}-7000-8000-000000000000"
