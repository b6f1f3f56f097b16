"""``/health`` (the process answers) and ``/ready`` (it can serve)."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

from api.auth import SettingsDep
from api.database import DatabaseDep
from api.gateway.tokens import bears
from api.health.checks import Check, look_at
from api.problems import Problem

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """That the process answers."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether the process can serve. ``checks`` are for the operator: null without the operator's token."""

    status: Literal["ready"] = "ready"
    checks: dict[str, Check] | None = None


@router.get("/health")
async def get_health() -> Health:
    """Answer; no more."""
    return Health()


@router.get("/ready", response_model_exclude_none=True)
async def get_readiness(request: Request, settings: SettingsDep, database: DatabaseDep) -> Readiness:
    """Answer 200 when the process can serve, else 503.

    Database, schema, listener, and the relay where it runs in this process, count; Airflow is only told of. The
    operator's token shows each check.
    """
    checks = await look_at(request.app.state, settings, database)
    details = checks if bears(request, settings.api_token) else None
    if all(check.ok for check in checks.values() if check.counts):
        return Readiness(checks=details)
    members = {"checks": {name: check.model_dump() for name, check in details.items()}} if details else {}
    raise Problem(503, "not_ready", "The process cannot serve now.", headers={"retry-after": "1"}, **members)
