"""``/metrics``: for Prometheus, and not for strangers."""

from __future__ import annotations

import asyncio
import ipaddress
import time

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy.exc import SQLAlchemyError

from api.auth import SettingsDep
from api.database import Database, DatabaseDep
from api.gateway.tokens import bears
from api.metrics.registry import REGISTRY, RELAY_DEAD_LETTERS, RELAY_KNOWN, RELAY_OLDEST_SECONDS, RELAY_WAITING
from api.metrics.repository import read_backlog
from api.problems import Problem, not_found
from api.settings import Settings

router = APIRouter(tags=["health"])

FRESH_SECONDS = 5.0
READ_SECONDS = 2.0


@router.get("/metrics", response_class=Response)
async def get_metrics(request: Request, settings: SettingsDep, database: DatabaseDep) -> Response:
    """Return the metrics of this process as text.

    Behind ``AGENT_FACTORY_METRICS_TOKEN``; without one only for this machine, where the API listens to it alone.
    """
    _refuse_strangers(request, settings)
    await _look_at_relay(request, database)
    return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)


def _refuse_strangers(request: Request, settings: Settings) -> None:
    if settings.metrics_token is not None:
        if not bears(request, settings.metrics_token):
            detail = "Send the header 'Authorization: Bearer <token>' with the metrics token."
            raise Problem(401, "unauthorized", detail, headers={"www-authenticate": "Bearer"})
        return
    # A proxy on this machine would open it to the world: what came through one is no request of this machine.
    came_through = {"forwarded", "x-forwarded-for", "x-real-ip", "via"} & set(request.headers.keys())
    client = request.client.host if request.client else ""
    if came_through or not (_is_loopback(settings.api_host) and _is_loopback(client)):
        raise not_found("page", request.url.path)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _look_at_relay(request: Request, database: Database) -> None:
    """Read the relay's gauges, at most every few seconds; what cannot be read is said to be unknown."""
    state = request.app.state
    if time.monotonic() < getattr(state, "backlog_read_at", -FRESH_SECONDS) + FRESH_SECONDS:
        return
    state.backlog_read_at = time.monotonic()
    try:
        async with asyncio.timeout(READ_SECONDS), database.system() as session:
            backlog = await read_backlog(session)
    except (SQLAlchemyError, OSError, TimeoutError):
        RELAY_KNOWN.set(0)
        return
    RELAY_KNOWN.set(1)
    RELAY_WAITING.set(backlog.waiting)
    RELAY_OLDEST_SECONDS.set(backlog.oldest_seconds)
    RELAY_DEAD_LETTERS.set(backlog.dead_letters)
