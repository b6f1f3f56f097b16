"""What readiness looks at. Every look is bounded, and what it finds is shared for a second: anybody may ask."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from functools import cache
from typing import TypeVar

import httpx
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import State

from api.database import Database
from api.health.repository import applied_revision
from api.migrate import newest_revision
from api.settings import Settings
from operators.tls import own_context

LOOK_SECONDS = 2.0
FRESH_SECONDS = 1.0

Found = TypeVar("Found")

_newest = cache(newest_revision)


class Check(BaseModel):
    """What was found. ``counts`` tells whether the process is only ready where this is ``ok``."""

    ok: bool
    counts: bool = True
    detail: str = ""


async def look_at(state: State, settings: Settings, database: Database) -> dict[str, Check]:
    """Return every check, at most a second old; many who ask at a time look once."""
    look: asyncio.Task[dict[str, Check]] | None = getattr(state, "readiness", None)
    looked_at: float = getattr(state, "readiness_at", 0.0)
    if look is None or (look.done() and time.monotonic() - looked_at > FRESH_SECONDS):
        look = state.readiness = asyncio.create_task(_look(state, settings, database), name="readiness")
        state.readiness_at = time.monotonic()
    return await asyncio.shield(look)


async def _look(state: State, settings: Settings, database: Database) -> dict[str, Check]:
    (stored, schema), airflow = await asyncio.gather(_look_at_database(database), _look_at_airflow(settings))
    checks = {"database": stored, "migrations": schema, "listener": _look_at_listener(state), "airflow": airflow}
    if settings.relay:
        task: asyncio.Task[None] | None = getattr(state, "relay", None)
        alive = task is not None and not task.done()
        checks["relay"] = Check(ok=alive, detail="" if alive else "The relay of this process has ended.")
    return checks


async def _look_at_database(database: Database) -> tuple[Check, Check]:
    async def ask() -> str | None:
        async with database.without_organization() as session:
            return await applied_revision(session)

    try:
        revision = await _in_time(ask())
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        away = Check(ok=False, detail=f"It does not answer ({type(error).__name__}).")
        return away, Check(ok=False, detail="Not known while the database does not answer.")
    if revision == _newest():
        return Check(ok=True), Check(ok=True)
    detail = f"The schema is {revision or 'none'}, the program's {_newest()}; run `python -m api.migrate`."
    return Check(ok=True), Check(ok=False, detail=detail)


def _look_at_listener(state: State) -> Check:
    connected = state.listener.connected.is_set()
    return Check(ok=connected, detail="" if connected else "It is connecting to the database.")


async def _look_at_airflow(settings: Settings) -> Check:
    """Tell whether Airflow can be reached: without it executions wait, and are accepted all the same."""

    async def ask() -> int:
        async with httpx.AsyncClient(timeout=LOOK_SECONDS, trust_env=False, verify=own_context()) as client:
            return (await client.get(f"{settings.airflow_url}/api/v2/monitor/health")).status_code

    try:
        status = await _in_time(ask())
    except (httpx.HTTPError, OSError, TimeoutError) as error:
        return Check(ok=False, counts=False, detail=f"It cannot be reached ({type(error).__name__}).")
    return Check(ok=status == 200, counts=False, detail="" if status == 200 else f"It answers {status}.")


async def _in_time(work: Awaitable[Found]) -> Found:
    async with asyncio.timeout(LOOK_SECONDS):
        return await work
