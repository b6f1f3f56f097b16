"""The database: one engine a process, one transaction a request.

Row-level security lets a transaction see the organisation that was set for it and nothing else: ``docs/tenancy.md``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import Depends, Request
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_sessionmaker, create_async_engine

from api.objects.store import ObjectStore, session_info
from api.settings import Settings

SYSTEM_ROLE = "agent_factory_system"
"""Sees every organisation. The application's role may take it, and has none of its rights before it does."""

BROKERED = "brokered"
"""Key in a session's ``info``: the types of our events that go to the broker too."""

# All of it ends with the transaction, so that a connection never carries an organisation to the next one.
_OF_ORGANIZATION = text("SELECT set_config('agent_factory.organization_id', :organization, true)")
_AS_SYSTEM = text(f"SELECT set_config('role', '{SYSTEM_ROLE}', true)")
_NARROWED = text(
    "SELECT set_config('role', 'none', true), set_config('agent_factory.organization_id', :organization, true)"
)


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
        self.objects = ObjectStore(settings)
        info = {**session_info(self.objects), BROKERED: settings.brokered_events}
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False, info=info)

    @asynccontextmanager
    async def transaction(self, organization_id: UUID) -> AsyncIterator[AsyncSession]:
        """Give a session that sees one organisation. It commits at the end, or rolls back when an exception passes."""
        async with self._sessions.begin() as session:
            await session.execute(_OF_ORGANIZATION, {"organization": str(organization_id)})
            yield session

    @asynccontextmanager
    async def system(self) -> AsyncIterator[AsyncSession]:
        """Give a session like :meth:`transaction` that sees every organisation: for what has to find out whose a
        request or an order is (then :func:`narrow`), and for the platform's own jobs."""
        async with self._sessions.begin() as session:
            await session.execute(_AS_SYSTEM)
            yield session

    @asynccontextmanager
    async def without_organization(self) -> AsyncIterator[AsyncSession]:
        """Give a session like :meth:`transaction` that sees no organisation."""
        async with self._sessions.begin() as session:
            yield session

    @asynccontextmanager
    async def system_without_transaction(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection that sees every organisation, for the statements that no transaction may hold."""
        async with self.engine.connect() as connection:
            try:
                await connection.execution_options(isolation_level="AUTOCOMMIT")
                await connection.execute(text(f"SET ROLE {SYSTEM_ROLE}"))
                yield connection
            finally:
                # The role is the connection's own now: nobody else may get it.
                await connection.invalidate()

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


async def narrow(session: AsyncSession, organization_id: UUID) -> None:
    """Let the rest of a :meth:`Database.system` transaction see one organisation only."""
    await session.execute(_NARROWED, {"organization": str(organization_id)})


async def get_database(request: Request) -> Database:
    """Return the application's database."""
    database = request.app.state.database
    assert isinstance(database, Database)
    return database


DatabaseDep = Annotated[Database, Depends(get_database)]
