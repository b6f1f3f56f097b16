"""The transactions of requests: the caller's organisation, or every one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import CallerDep
from api.database import DatabaseDep


async def _of_caller(database: DatabaseDep, caller: CallerDep) -> AsyncIterator[AsyncSession]:
    async with database.transaction(caller.organization_id) as session:
        yield session


async def _of_all(database: DatabaseDep) -> AsyncIterator[AsyncSession]:
    async with database.system() as session:
        yield session


# "function": committed before the answer is sent, so that a caller never hears of what was not stored.
Transaction = Annotated[AsyncSession, Depends(_of_caller, scope="function")]
"""Of an endpoint of ``/api/v1``: sees the caller's organisation."""
SystemTransaction = Annotated[AsyncSession, Depends(_of_all, scope="function")]
"""Of an endpoint of ``/runtime/v1``, whose callers serve every organisation: narrow it once it is known whose the
request is."""
