"""Sees every request from its head to the end of its answer: request id, access log, metrics, the last resort."""

from __future__ import annotations

import logging
import re
import time
import uuid
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.gateway.logs import FIELDS, request_id
from api.gateway.routes import route_template
from api.metrics.registry import HTTP_AT_WORK, HTTP_REQUESTS, HTTP_SECONDS
from api.problems import Problem

log = logging.getLogger("api.access")
errors = logging.getLogger("api.errors")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_QUIET = frozenset({"/health", "/ready", "/metrics"})
"""Asked every few seconds: logged only where they fail."""
_GONE = 499
"""Status of a request whose answer never began, because its caller went away or the server stops."""


class ObservationMiddleware:
    """Give each answer an ``X-Request-ID`` (the caller's if it is harmless, else a new one), and note its fate.

    An exception that nobody knew is answered here with 500 and logged without what it says; Starlette's own handler,
    further out, would have the server log all of it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        identifier = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        token = request_id.set(identifier)
        began, status = time.perf_counter(), _GONE

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = identifier
            await send(message)

        HTTP_AT_WORK.inc()
        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:
            errors.error("request failed", exc_info=error)
            if status == _GONE:
                await _UNKNOWN.as_response()(scope, receive, send_with_id)
        finally:
            HTTP_AT_WORK.dec()
            _note(scope, status, time.perf_counter() - began)
            request_id.reset(token)


_UNKNOWN = Problem(500, "internal_error", "The server could not answer; the reason is in its log.")


def _note(scope: Scope, status: int, seconds: float) -> None:
    method = scope["method"] if scope["method"] in _METHODS else "other"
    template = route_template(scope)
    HTTP_REQUESTS.labels(method, template, f"{status // 100}xx").inc()
    HTTP_SECONDS.labels(method, template).observe(seconds)
    if template in _QUIET and status < 400:
        return
    organization = scope.get("state", {}).get("organization_id")
    fields: dict[str, Any] = {
        "method": method,
        "route": template,
        "status": status,
        "ms": round(seconds * 1000, 1),
        "organization_id": str(organization) if organization else None,
    }
    log.info("request", extra={FIELDS: fields})
