"""The OpenAPI document: what every endpoint may answer besides its own, said in one place.

Each error is a problem document. An endpoint documents what only it answers, by ``responses``.
"""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI

PROBLEM = "Problem"
_REFERENCE = {"$ref": f"#/components/schemas/{PROBLEM}"}
_SCHEMA: dict[str, Any] = {
    "title": PROBLEM,
    "description": "An error (RFC 9457). `code` is for programs, `detail` for people; some errors have more members.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "errors": {"type": "array", "items": {"type": "object"}},
    },
    "additionalProperties": True,
    "examples": [
        {
            "type": "about:blank",
            "title": "Not Found",
            "status": 404,
            "detail": "There is no workflow 'greet'.",
            "code": "not_found",
        }
    ],
}
_METHODS = frozenset({"get", "put", "post", "delete", "patch"})

_ALWAYS = (400, 414, 422, 431, 500, 503)
_WITH_LIMIT = (429,)
_WITH_BODY = (408, 413, 415)
_WITH_SECURITY = (401, 403)
_WITH_NAMES = (404,)
_WITH_CONDITION = (412, 428)
_WITH_CHANGE = (404, 409, 410)


def install(app: FastAPI) -> None:
    """Complete the application's document."""
    original = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(original())
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _complete(document: dict[str, Any]) -> None:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas[PROBLEM] = _SCHEMA
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method in _METHODS:
                _add_problems(path, method, operation["responses"], operation)
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)


def _add_problems(path: str, method: str, responses: dict[str, Any], operation: dict[str, Any]) -> None:
    responses.pop("422", None)
    for status in sorted(set(_statuses(path, method, operation))):
        declared = responses.setdefault(str(status), {"description": HTTPStatus(status).phrase})
        declared.setdefault("content", {})["application/problem+json"] = {"schema": _REFERENCE}
    for name, response in responses.items():
        if name.startswith("2"):
            response.setdefault("headers", {})["X-Request-ID"] = {"schema": {"type": "string"}}
    if "429" in responses:
        responses["429"]["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "In seconds."}}


def _statuses(path: str, method: str, operation: dict[str, Any]) -> Iterator[int]:
    yield from _ALWAYS
    if not path.startswith(("/runtime/", "/health", "/ready", "/metrics")):
        yield from _WITH_LIMIT
    if method in ("post", "put", "patch") or "requestBody" in operation:
        yield from _WITH_BODY
    if operation.get("security") or path.startswith("/api/v1/auth/"):
        yield from _WITH_SECURITY
    if "{" in path:
        yield from _WITH_NAMES
    if any(parameter.get("name", "").lower() == "if-match" for parameter in operation.get("parameters", ())):
        yield from _WITH_CONDITION
    if method != "get":
        yield from _WITH_CHANGE
