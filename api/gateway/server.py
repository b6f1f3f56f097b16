"""The HTTP server: uvicorn, with bounds of a request's head that it does not have itself."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.gateway.settings import GatewaySettings
from api.problems import Problem

GRACE_SECONDS = 5


def server_options(settings: GatewaySettings) -> dict[str, Any]:
    """Return the options of ``uvicorn.run``."""
    bounds = {"most_bytes": settings.max_header_bytes + settings.max_url_bytes, "seconds": settings.header_seconds}
    protocol = type("SetProtocol", (BoundedProtocol,), bounds)
    return {
        "http": protocol,
        "limit_concurrency": settings.max_connections,
        # Of anybody else X-Forwarded-For is no more than a claim.
        "proxy_headers": bool(settings.trusted_proxies),
        "forwarded_allow_ips": list(settings.trusted_proxies),
        "access_log": False,
        "log_config": None,
        "server_header": False,
        "timeout_graceful_shutdown": GRACE_SECONDS,
        "ws": "none",
    }


class BoundedProtocol(HttpToolsProtocol):
    """Gives a request's head so much room and time."""

    most_bytes: ClassVar[int]
    seconds: ClassVar[float]

    _head_timer: asyncio.TimerHandle | None = None
    _head_bytes: int | None = 0
    """Bytes of the head so far; None while a body or an answer is awaited."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Measure what has come of a head."""
        if self._head_bytes is not None:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes is not None and self._head_bytes > self.most_bytes and not self.transport.is_closing():
            self._refuse(Problem(431, "headers_too_large", "The head of the request is too large."))

    def on_message_begin(self) -> None:
        """Begin to wait for the next head of the connection."""
        super().on_message_begin()
        if self._head_bytes is None:
            self._await_head()

    def on_headers_complete(self) -> None:
        """Wait no more: a body has bounds of its own."""
        self._stop_timer()
        self._head_bytes = None
        super().on_headers_complete()

    def _await_head(self) -> None:
        self._stop_timer()
        self._head_bytes = 0
        self._head_timer = self.loop.call_later(self.seconds, self._head_is_late)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        if not self.transport.is_closing():
            detail = f"The head of a request must come within {self.seconds:g} s."
            self._refuse(Problem(408, "request_timeout", detail))

    def _refuse(self, problem: Problem) -> None:
        body = bytes(problem.as_response().body)
        head = (
            f"HTTP/1.1 {problem.status} {problem.title}\r\ncontent-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
