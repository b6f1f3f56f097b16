"""Finds the workflow behind a webhook."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api.idempotency.keys import RequestKey
from api.organizations.repository import OrganizationRepository
from api.problems import Problem, not_found
from api.webhooks.signatures import SignedMessage
from api.workflows.repository import Route, RouteRepository


async def find_route(session: AsyncSession, organization: str, path: str, method: str) -> tuple[UUID, Route]:
    """Return the organisation and the route of a webhook; the session, of every organisation, sees that one then.

    :raises Problem: 404 for an unknown path, 405 for another method.
    """
    unknown = not_found("webhook", f"{organization}/{path}")
    if "\x00" in organization + path:
        raise unknown
    organization_id = await OrganizationRepository(session).enter(organization)
    if organization_id is None:
        raise unknown
    routes = await RouteRepository(session, organization_id).at(path)
    if not routes:
        raise unknown
    for route in routes:
        if route.method == method:
            return organization_id, route
    allowed = ", ".join(route.method for route in routes)
    raise Problem(405, "method_not_allowed", f"This webhook takes {allowed}.", headers={"allow": allowed})


def signed_key(door: str, message: SignedMessage) -> RequestKey:
    """Return what a signed message is known by at a webhook, whatever came with it unsigned.

    :param door: The webhook's method and path.
    """
    name = hashlib.sha256(message.id.encode("utf-8", "surrogatepass")).hexdigest()
    return RequestKey(f"signed {door}", name, "", message.kept)


def calls_back(config: dict[str, Any]) -> bool:
    """Tell whether a webhook answers by calling back."""
    return bool(config["response"]["mode"] == "callback")


def sync_seconds(config: dict[str, Any]) -> float | None:
    """Return how long a sync webhook waits; None for an async one."""
    response = config.get("response") or {}
    if response.get("mode") != "sync":
        return None
    return float(response.get("timeout_seconds") or 30.0)
