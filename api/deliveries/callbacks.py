"""Callbacks: the end of an execution is told to an address that its caller gave."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import Request
from sqlalchemy.ext.asyncio import AsyncSession

from api import notifications
from api.deliveries.repository import DeliveryRepository
from api.deliveries.signing import CALLBACK_SECRET, callback_secret
from api.encryption import UnsealError
from api.problems import Problem
from api.settings import Settings
from api.subscriptions.event_types import FINISHED
from api.subscriptions.events import as_cloud_event
from compiler.urls import UrlError, parse_url

CALLBACK_URL = "callback-url"
"""The header in which the caller of a webhook says where to call back."""
MAX_URL = 2000


def read_callback_url(request: Request) -> str:
    """Return where a caller wants to be called back.

    :raises Problem: 422, where the header is missing or holds no URL that can be called.
    """
    url = request.headers.get(CALLBACK_URL)
    if url is None:
        detail = "This webhook calls back: say where in the header `Callback-Url`."
        raise Problem(422, "callback_url_missing", detail)
    try:
        if len(url) > MAX_URL:
            raise UrlError(f"it must have at most {MAX_URL} characters")
        parse_url(url)
    except UrlError as error:
        raise Problem(422, "invalid_callback_url", f"`Callback-Url` must be one that can be called: {error}.") from None
    return url


async def require_callback_secret(session: AsyncSession, organization_id: UUID, settings: Settings) -> None:
    """Refuse what could only be answered unsigned.

    :raises Problem: 503, where the organisation has nothing to sign callbacks with.
    """
    try:
        secret = await callback_secret(session, organization_id, settings)
    except (Problem, UnsealError):
        secret = None
    if secret is None:
        detail = f"Callbacks are signed with the secret variable {CALLBACK_SECRET!r}; set it to a `whsec_` secret."
        raise Problem(503, "callback_secret_missing", detail)


async def call_back(session: AsyncSession, organization_id: UUID, execution_id: UUID, url: str) -> None:
    """Note where the end of an execution that goes on is to be told."""
    await DeliveryRepository(session, organization_id).add_callback(execution_id, url, FINISHED)


async def release_callbacks(
    session: AsyncSession, organization_id: UUID, execution_id: UUID, data: dict[str, Any]
) -> None:
    """Have the end of an execution told to who waits for it.

    :param data: The event's.
    """
    deliveries = DeliveryRepository(session, organization_id)
    if not await deliveries.is_waited_for(execution_id):
        return
    body = as_cloud_event(FINISHED, f"/api/v1/executions/{execution_id}", data)
    await deliveries.release(execution_id, body)
    await notifications.notify(session, notifications.DELIVERIES)
