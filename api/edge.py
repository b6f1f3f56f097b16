"""The edge of HTTP: bodies are bounded while they are read, JSON is parsed strictly."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

import orjson
from fastapi import Request, Response
from fastapi.routing import APIRoute

from api.problems import Problem

MAX_DEPTH = 100
"""Deepest nesting of a JSON body; every reader behind the edge can walk it."""


async def read_body(request: Request, limit: int) -> bytes:
    """Read a body, at most ``limit`` bytes.

    :raises Problem: 413, as soon as more was announced or has come.
    """
    # Without "close" the server would go on reading what a caller goes on sending.
    too_large = Problem(413, "too_large", f"The body must have at most {limit} bytes.", headers={"connection": "close"})
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise too_large
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise too_large
        chunks.append(chunk)
    return b"".join(chunks)


def parse_json(body: bytes) -> Any:
    """Parse a JSON body strictly (no NaN, no lone surrogates).

    :raises Problem: 400, where it is broken or nested deeper than ``MAX_DEPTH``.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem(400, "invalid_json", f"The body must be JSON: {error}.") from None
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [child for item in level for child in _children(item)]
        if not level:
            return value
    raise Problem(400, "invalid_json", f"The body must be nested at most {MAX_DEPTH} deep.")


def _children(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [child for child in inner if isinstance(child, dict | list)]


class EdgeRequest(Request):
    """A request whose JSON is read by the rules of the edge."""

    limit: int = 0

    async def body(self) -> bytes:
        """Return the body, bounded."""
        if not hasattr(self, "_body"):
            self._body = await read_body(self, self.limit)
        return self._body

    async def json(self) -> Any:
        """Return the parsed body."""
        return parse_json(await self.body())


class EdgeRoute(APIRoute):
    """A route of JSON endpoints. Subclasses name the setting that bounds the body."""

    limit_setting: ClassVar[str] = "api_max_bytes"

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler, fed with an :class:`EdgeRequest`."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            edge_request = EdgeRequest(request.scope, request.receive)
            edge_request.limit = getattr(request.app.state.settings, self.limit_setting)
            # Read here, for FastAPI would turn a problem of it into a bare 400. Problems go on to the application's
            # handler: caught here, they would pass for an answer, and what was written before them be committed.
            await edge_request.body()
            return await handler(edge_request)

        return handle


class RuntimeRoute(EdgeRoute):
    """A route of the runtime API, whose step outputs may be larger."""

    limit_setting: ClassVar[str] = "runtime_max_bytes"
