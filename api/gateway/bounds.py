"""Bounds of a request: its head, its address, the time its body takes to come and its endpoint to answer."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.gateway import deadline
from api.gateway.settings import GatewaySettings
from api.problems import Problem

_CLOSE = {"connection": "close"}
"""Without it the server would go on reading what a caller goes on sending."""


class BoundsMiddleware:
    """Refuse what is too large or too slow. Workers may take their time: an upkeep job takes minutes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        settings: GatewaySettings = scope["app"].state.settings
        refusal = _refusal(scope, settings)
        if refusal is not None:
            await refusal.as_response()(scope, receive, send)
            return
        bounded = _bounded(receive, settings.body_seconds)
        if scope["path"].startswith("/runtime/v1/"):
            await self._app(scope, bounded, send)
        else:
            await self._serve_in_time(scope, bounded, send, settings.request_seconds)

    async def _serve_in_time(self, scope: Scope, receive: Receive, send: Send, seconds: float) -> None:
        began = False
        try:
            async with asyncio.timeout(seconds) as timeout:
                deadline.begin(timeout)

                async def send_and_note(message: Message) -> None:
                    nonlocal began
                    if not began:
                        # A stream goes on for as long as its caller listens.
                        began = True
                        timeout.reschedule(None)
                    await send(message)

                await self._app(scope, receive, send_and_note)
        except TimeoutError:
            if began or not timeout.expired():
                raise
            detail = "The server took too long to answer. Ask what became of the request before you send it again."
            await Problem(503, "timed_out", detail, headers=_CLOSE).as_response()(scope, receive, send)


def _refusal(scope: Scope, settings: GatewaySettings) -> Problem | None:
    most = settings.max_url_bytes
    if len(scope.get("raw_path") or scope["path"].encode()) > most or len(scope["query_string"]) > most:
        detail = f"The path, and the query, must have at most {most} bytes each."
        return Problem(414, "url_too_long", detail, headers=_CLOSE)
    if sum(len(name) + len(value) + 4 for name, value in scope["headers"]) > settings.max_header_bytes:
        detail = f"The header fields must have at most {settings.max_header_bytes} bytes."
        return Problem(431, "headers_too_large", detail, headers=_CLOSE)
    return None


def _bounded(receive: Receive, seconds: float) -> Receive:
    """Return a ``receive`` whose body must have come within the seconds after it was first asked for.

    :raises Problem: 408, from ``receive``.
    """
    ends: float | None = None
    is_read = False

    async def receive_in_time() -> Message:
        nonlocal ends, is_read
        if is_read:  # what comes now is that the caller went away
            return await receive()
        if ends is None:
            ends = asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(ends):
                message = await receive()
        except TimeoutError:
            detail = f"The body must come within {seconds:g} s."
            raise Problem(408, "request_timeout", detail, headers=_CLOSE) from None
        is_read = not message.get("more_body", False)
        return message

    return receive_in_time
