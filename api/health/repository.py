"""SQL of readiness."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncSession

from api.migrate import VERSION_TABLE


async def applied_revision(session: AsyncSession) -> str | None:
    """Return the newest migration that was applied; None where none was."""
    try:
        revision: str | None = await session.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608  our own constant
    except ProgrammingError:
        return None
    return revision
