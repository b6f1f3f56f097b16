# ruff: noqa: S608  Names of tables come from this file and from months; all else is a parameter.
"""SQL of the partitions: of ``workflow_executions`` and, by the same months, of ``execution_steps``.

What changes them locks both tables, for milliseconds: whoever cannot have the lock soon gives up, so that nobody who
works with executions waits for long behind it. All of it is about the whole installation, by time alone.

The application owns no table: partitions are made and removed by functions of the owner's (migration 0010).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from api.database import Database
from api.upkeep.partitions.months import Month

EXECUTIONS, STEPS = "workflow_executions", "execution_steps"
KEYS = {EXECUTIONS: "id", STEPS: "execution_id"}
"""Partitioned table -> the column with an execution's id."""
LOCK_MILLISECONDS = 500
"""Longest wait for the lock; shorter than PostgreSQL waits before it looks for deadlocks."""
WORK_SECONDS = 20
"""Longest time that one statement may hold the lock."""
_GIVEN_UP = ("55P03", "57014")
"""lock_not_available, query_canceled."""
_JOB = 4_210_077_003  # any number, the same in every process


class BusyError(Exception):
    """Others work with the tables all the time, or another process does the same job; trying again later helps."""


@dataclass(frozen=True)
class Moved:
    """How many rows went from the default partitions to those of their month."""

    executions: int
    steps: int


@asynccontextmanager
async def locked_tables(database: Database) -> AsyncIterator[PartitionRepository]:
    """Lock both tables until the end of a transaction.

    :raises BusyError: Not to be had; nothing was changed.
    """
    try:
        async with database.system() as session:
            if not await session.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": _JOB}):
                raise BusyError("another process does the same")
            await session.execute(text(f"SET LOCAL lock_timeout = '{LOCK_MILLISECONDS}ms'"))
            await session.execute(text(f"SET LOCAL statement_timeout = '{WORK_SECONDS}s'"))
            await session.execute(text(f"LOCK TABLE {EXECUTIONS}, {STEPS} IN ACCESS EXCLUSIVE MODE"))
            yield PartitionRepository(session)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) in _GIVEN_UP:
            raise BusyError("the tables are in use") from error
        raise


class PartitionRepository:
    """The partitions of the installation."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def now(self) -> datetime:
        """Return the database's time, by which ids are made."""
        now: datetime = (await self._session.execute(text("SELECT clock_timestamp()"))).scalar_one()
        return now

    async def months(self, table: str) -> set[Month]:
        """Return the months that have a partition."""
        names = await self._session.scalars(
            text(
                "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
                " WHERE inhparent = CAST(:table AS regclass)"
            ),
            {"table": table},
        )
        months = (name.removeprefix(f"{table}_") for name in names)
        return {Month.named(name) for name in months if name != "default"}

    async def months_in_default(self) -> set[Month]:
        """Return the months of which rows are in a default partition; those without a time in their id have none."""
        found: set[Month] = set()
        for table, key in KEYS.items():
            moments = await self._session.scalars(
                text(
                    f"SELECT DISTINCT date_trunc('month', uuid_extract_timestamp({key}), 'UTC')"
                    f" FROM {_default(table)} WHERE uuid_extract_version({key}) = 7"
                )
            )
            found |= {Month.of(moment) for moment in moments}
        return found

    async def in_default(self, month: Month) -> int:
        """Return how many rows of a month are in the default partitions."""
        return sum([await self._count(_default(table), key, month) for table, key in KEYS.items()])

    async def _count(self, table: str, key: str, month: Month) -> int:
        query = text(f"SELECT count(*) FROM {table} WHERE {_range(key)}")
        return int((await self._session.execute(query, _bounds(month))).scalar_one())

    async def make(self, month: Month) -> None:
        """Make the partitions of a month that are not there. No row of it may be in a default partition."""
        make = text("SELECT partitions.make(:table, :month)")
        for table in KEYS:
            await self._session.execute(make, {"table": table, "month": month.start.date()})

    async def make_and_move(self, month: Month) -> Moved:
        """Make the partitions of a month and move its rows there from the default partitions.

        A row that others refer to cannot change its partition otherwise: it is removed, which takes along what refers
        to it, and all of that is put back. It is one transaction, so nobody sees it gone.
        """
        referring = await self._referring()
        await self._set_aside(EXECUTIONS, f"SELECT * FROM {_default(EXECUTIONS)} WHERE {_range('id')}", month)
        for table, column in referring.items():
            await self._set_aside(
                table,
                f"SELECT t.* FROM {table} t JOIN moved_{EXECUTIONS} e"
                f" ON e.organization_id = t.organization_id AND e.id = t.{column}",
                month,
            )
        executions = await self._remove(_default(EXECUTIONS), "id", month)
        # Those whose execution has its partition already.
        left = f"SELECT * FROM {_default(STEPS)} WHERE {_range('execution_id')}"
        await self._session.execute(text(f"INSERT INTO moved_{STEPS} {_with(left, month)}"))
        await self._remove(_default(STEPS), "execution_id", month)
        await self.make(month)
        steps = 0
        for table in (EXECUTIONS, *referring):
            put = text(f"INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM moved_{table}")
            rows: Any = await self._session.execute(put)
            steps = rows.rowcount if table == STEPS else steps
            await self._session.execute(text(f"DROP TABLE moved_{table}"))
        return Moved(executions, steps)

    async def _referring(self) -> dict[str, str]:
        """Return the tables that refer to executions, and by which column."""
        rows = await self._session.execute(
            text(
                "SELECT CAST(CAST(conrelid AS regclass) AS text), attname FROM pg_constraint"
                " JOIN pg_attribute ON attrelid = conrelid AND attnum = conkey[2]"
                " WHERE confrelid = CAST(:table AS regclass) AND contype = 'f' AND conparentid = 0"
            ),
            {"table": EXECUTIONS},
        )
        return {row[0]: row[1] for row in rows}

    async def _set_aside(self, table: str, query: str, month: Month) -> None:
        await self._session.execute(
            text(f"CREATE TEMPORARY TABLE moved_{table} ON COMMIT DROP AS {_with(query, month)}")
        )

    async def _remove(self, table: str, key: str, month: Month) -> int:
        removed: Any = await self._session.execute(text(f"DELETE FROM {table} WHERE {_range(key)}"), _bounds(month))
        return int(removed.rowcount)

    async def drop(self, table: str, month: Month) -> None:
        """Drop a month's partition with its rows, to which no row may refer."""
        remove = text("SELECT partitions.remove(:table, :month)")
        await self._session.execute(remove, {"table": table, "month": month.start.date()})

    async def is_empty(self, month: Month) -> bool:
        """Tell whether no execution is in a month's partition."""
        query = text(f"SELECT NOT EXISTS (SELECT FROM {partition(EXECUTIONS, month)})")
        return bool(await self._session.scalar(query))

    async def is_over(self, month: Month, before: datetime) -> bool:
        """Tell whether every execution of a month's partition ended before a moment."""
        query = text(
            f"SELECT NOT EXISTS (SELECT FROM {partition(EXECUTIONS, month)}"
            " WHERE completed_at IS NULL OR completed_at >= :before)"
        )
        return bool(await self._session.scalar(query, {"before": before}))

    async def remove_ended(self, month: Month | None, before: datetime, after: UUID, count: int) -> list[UUID]:
        """Remove executions that ended before a moment, with all that refers to them; return which.

        Those that someone works with are left.

        :param month: In whose partition; None for the default one.
        :param after: Only those with a greater id, the smallest first.
        """
        table = _default(EXECUTIONS) if month is None else partition(EXECUTIONS, month)
        removed = await self._session.scalars(
            text(
                f"WITH old AS (SELECT organization_id, id FROM {table} WHERE completed_at < :before AND id > :after"
                f" ORDER BY id LIMIT :count FOR UPDATE SKIP LOCKED) DELETE FROM {table} e USING old"
                " WHERE e.organization_id = old.organization_id AND e.id = old.id RETURNING e.id"
            ),
            {"before": before, "after": after, "count": count},
        )
        return list(removed)

    async def has_unfinished(self, month: Month) -> bool:
        """Tell whether an execution of a month's partition goes on; by an index, at once."""
        query = text(f"SELECT EXISTS (SELECT FROM {partition(EXECUTIONS, month)} WHERE completed_at IS NULL)")
        return bool(await self._session.scalar(query))

    async def analyze(self) -> None:
        """Have PostgreSQL look at the rows anew: by itself it looks at the partitions, never at a table of them."""
        for table in KEYS:
            await self._session.execute(text(f"ANALYZE ONLY {table}"))


async def vacuum(database: Database, month: Month) -> None:
    """Free the space of what was removed from a month's executions, so that the rest goes quickly."""
    async with database.system_without_transaction() as connection:
        await connection.execute(text(f"VACUUM (ANALYZE) {partition(EXECUTIONS, month)}"))


def partition(table: str, month: Month) -> str:
    """Return the name of a month's partition."""
    return f"partitions.{table}_{month.name}"


def _default(table: str) -> str:
    return f"partitions.{table}_default"


def _range(key: str) -> str:
    return f"{key} >= :low AND {key} < :high"


def _bounds(month: Month) -> dict[str, Any]:
    return {"low": month.first_id, "high": month.after().first_id}


def _with(query: str, month: Month) -> str:
    """Put the bounds into a query; a statement that makes a table takes no parameters."""
    for name, value in _bounds(month).items():
        query = query.replace(f":{name}", f"'{value}'")
    return query
