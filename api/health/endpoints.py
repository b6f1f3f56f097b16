"""``/health`` (the process answers) and ``/ready`` (it can serve)."""

from __future__ import annotations

from functools import cache

from fastapi import APIRouter

from api.database import DatabaseDep
from api.health.repository import applied_revision
from api.migrate import newest_revision
from api.problems import Problem

router = APIRouter(tags=["health"])
_newest = cache(newest_revision)


@router.get("/health")
async def get_health() -> dict[str, str]:
    """Answer; no more."""
    return {"status": "ok"}


@router.get("/ready")
async def get_readiness(database: DatabaseDep) -> dict[str, str]:
    """Answer 200 when the database is there and migrated, else 503."""
    async with database.without_organization() as session:
        applied = await applied_revision(session)
    if applied != _newest():
        raise Problem(503, "not_migrated", "The database has another schema; run `python -m api.migrate`.")
    return {"status": "ready"}
