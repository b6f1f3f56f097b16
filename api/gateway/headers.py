"""Header fields of every answer, and which other origins may read them (CORS)."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.gateway.settings import GatewaySettings

_ALWAYS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
}
_OF_JSON = "default-src 'none'; frame-ancestors 'none'"
_OF_A_YEAR = "max-age=31536000"

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_SENT = (
    "authorization",
    "content-type",
    "idempotency-key",
    "if-match",
    "if-none-match",
    "last-event-id",
    "x-request-id",
)
_READ = (
    "content-disposition", "deprecation", "etag", "link", "location", "ratelimit", "ratelimit-policy", "retry-after",
    "sunset", "x-request-id",
)  # fmt: skip


class HeadersMiddleware:
    """Set the header fields that keep browsers from misusing an answer, and those of the rate limits."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_fields(message: Message) -> None:
            if message["type"] == "http.response.start":
                _complete(MutableHeaders(scope=message), scope)
            await send(message)

        await self._app(scope, receive, send_with_fields)


def _complete(headers: MutableHeaders, scope: Scope) -> None:
    for name, value in _ALWAYS.items():
        headers.setdefault(name, value)
    headers.setdefault("content-security-policy", _OF_JSON)
    if getattr(scope["app"].state.settings, "public_url", "").startswith("https://"):
        headers["strict-transport-security"] = _OF_A_YEAR
    for name, value in scope.get("state", {}).get("rate_fields", {}).items():
        headers[name] = value


class CorsMiddleware:
    """Let the pages of listed origins call the API. Workers' doors and metrics are for no page.

    Cookies are never allowed: a caller shows a token.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._origins: tuple[str, ...] = ()
        self._cors = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"].startswith(("/runtime/", "/metrics")):
            await self._app(scope, receive, send)
            return
        settings: GatewaySettings = scope["app"].state.settings
        if settings.cors_origins != self._origins:
            self._origins = settings.cors_origins
            self._cors = self._made_for(self._origins) if self._origins else self._app
        await self._cors(scope, receive, send)

    def _made_for(self, origins: tuple[str, ...]) -> ASGIApp:
        return CORSMiddleware(
            self._app,
            allow_origins=origins,
            allow_methods=_METHODS,
            allow_headers=_SENT,
            expose_headers=_READ,
            allow_credentials=False,
            max_age=600,
        )
