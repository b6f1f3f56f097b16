"""The migration to partitions and back, with rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import IntegrityError

from api.migrate import migrate
from api.upkeep.partitions.months import Month
from api.upkeep.tools import Tools
from tests.api.control_plane import ControlPlane
from tests.api.revisions import go_back_to
from tests.api.upkeep.conftest import DAY, NOW, Age

pytestmark = pytest.mark.platform

TABLES = ("workflow_executions", "execution_steps", "leases", "outbox")

LATER_TABLES = {"upkeep_runs"}


@pytest.fixture
def connection(owner_url: URL) -> Iterator[Connection]:
    engine = create_engine(owner_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def rows(connection: Connection) -> dict[str, list[Any]]:
    """Return every row, as JSON, so that columns count by their names."""
    query = "SELECT CAST(to_jsonb(t) AS text) FROM {} t ORDER BY 1"
    return {table: list(connection.scalars(text(query.format(table)))) for table in TABLES}


def shape(connection: Connection) -> list[Any]:
    """Return constraints and indexes of what is not a partition, nor of a later migration."""
    constraints = connection.execute(
        text(
            "SELECT CAST(conrelid AS regclass)::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE connamespace = 'public'::regnamespace AND conparentid = 0"
        )
    )
    indexes = connection.execute(
        text(
            "SELECT tablename, indexname, replace(indexdef, ' ONLY ', ' ') FROM pg_indexes WHERE schemaname = 'public'"
        )
    )
    return sorted(tuple(row) for row in (*constraints, *indexes) if row[0] not in LATER_TABLES)


async def test_both_ways_with_rows(
    control_plane: ControlPlane, tools: Tools, owner_url: URL, connection: Connection, executed_at: Age
) -> None:
    today = connection.scalar(text("SELECT now()"))
    moments = [NOW, today, today - 40 * DAY, today - 400 * DAY]
    ids = [await executed_at(moment, None if moment == NOW else moment) for moment in moments]
    statement = text("UPDATE workflow_executions SET caller = CAST(id AS text)")
    connection.execute(statement)
    go_back_to(owner_url, "0009")
    before, partitioned = rows(connection), shape(connection)
    assert len(before["execution_steps"]) == 2 * len(ids)

    migrate(owner_url, "-1")
    assert rows(connection) == before
    plain = shape(connection)
    assert {row[1] for row in plain} == {row[1] for row in partitioned}
    differing = [row for row in plain if row not in partitioned]
    assert [row[1] for row in differing] == ["ix_workflow_executions_caller"]
    with pytest.raises(IntegrityError):
        connection.execute(text("UPDATE workflow_executions SET caller = 'the same'"))

    migrate(owner_url, "+1")
    assert rows(connection) == before
    assert shape(connection) == partitioned
    migrate(owner_url)
    homes = connection.execute(text("SELECT id, CAST(tableoid AS regclass)::text FROM workflow_executions"))
    by_id: dict[UUID, str] = {row[0]: row[1] for row in homes}
    # Times to come are a wrong clock's; all others have the partition of their month.
    expected = ["default", *(Month.of(moment).name for moment in moments[1:])]
    assert [by_id[each] for each in ids] == [f"partitions.workflow_executions_{name}" for name in expected]
    # What refers to an execution still goes with it.
    connection.execute(text("DELETE FROM workflow_executions"))
    assert rows(connection) == {table: [] for table in TABLES}
