"""SQL of the jobs' own runs: the time by which they judge what is old enough to be removed for ever."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from api.models import UpkeepRun

BELIEVED = timedelta(days=2)
"""The jobs come every six hours. More than this at once is a platform that was off, or a clock that leapt."""


async def trusted_now(session: AsyncSession, job: str) -> datetime:
    """Return the database's time, but at most two days after the job last began; note that it begins now.

    So a clock that runs ahead for some hours has nothing removed that is not about to go anyway. After a platform was
    off for long the second run removes what the first left.
    """
    now: datetime = (await session.execute(select(func.clock_timestamp()))).scalar_one()
    before = await session.scalar(select(UpkeepRun.began_at).where(UpkeepRun.job == job))
    noted = insert(UpkeepRun).values(job=job, began_at=now)
    await session.execute(noted.on_conflict_do_update(index_elements=["job"], set_={"began_at": now}))
    return now if before is None else min(now, before + BELIEVED)
