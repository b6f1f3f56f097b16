"""The database: one engine a process, one transaction a request."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated, Any

import orjson
from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from api.settings import Settings


def _dump(value: Any) -> str:
    return orjson.dumps(value).decode()


class Database:
    """Connections of one process.

    :param settings: Names the database and the size of the pool.
    """

    def __init__(self, settings: Settings) -> None:
        self.engine = create_async_engine(
            settings.async_url,
            pool_size=settings.database_pool_size,
            max_overflow=0,
            pool_timeout=10,
            pool_recycle=1800,
            # Errors are logged: not with what callers sent.
            hide_parameters=True,
            # One plan a statement, pruned when it runs: left to itself PostgreSQL plans anew for each call where a
            # table has many partitions, which takes longer than the statement.
            connect_args={"server_settings": {"plan_cache_mode": "force_generic_plan"}},
            json_serializer=_dump,
            json_deserializer=orjson.loads,
        )
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """Give a session that commits at the end, or rolls back when an exception passes."""
        async with self._sessions.begin() as session:
            yield session

    def system(self) -> AbstractAsyncContextManager[AsyncSession]:
        """Give a session like :meth:`transaction` that may see every organisation: for what has to find out whose a
        request or an order is, and for the platform's own jobs."""
        return self.transaction()

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


def get_database(request: Request) -> Database:
    """Return the application's database."""
    database = request.app.state.database
    assert isinstance(database, Database)
    return database


async def _transaction(database: Annotated[Database, Depends(get_database)]) -> AsyncIterator[AsyncSession]:
    async with database.transaction() as session:
        yield session


# "function": committed before the answer is sent, so that a caller never hears of what was not stored.
Transaction = Annotated[AsyncSession, Depends(_transaction, scope="function")]
DatabaseDep = Annotated[Database, Depends(get_database)]
