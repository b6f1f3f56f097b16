"""Errors as RFC 9457 problem documents: ``{type, title, status, detail, code, ...}``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException

from compiler.diagnostics import pointer

log = logging.getLogger(__name__)

CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    409: "conflict",
    410: "gone",
    412: "precondition_failed",
    413: "too_large",
    414: "url_too_long",
    415: "unsupported_media_type",
    422: "invalid_request",
    428: "precondition_required",
    429: "rate_limited",
    431: "headers_too_large",
    503: "unavailable",
}

DATABASE_IN_TROUBLE = ("25006", "53", "57", "58")
"""Beginnings of PostgreSQL's codes for what is no fault of a statement: it may only be read, it has no resources left
(a full disk among them), an operator stopped it, the system failed it."""


_NOT_A_TEXT = "22021"
"""PostgreSQL's SQLSTATE for what its encoding does not have."""


class Problem(Exception):
    """An error that the caller is told about. Subclasses and callers name what went wrong.

    :param status: HTTP status.
    :param code: Stable, for programs.
    :param detail: A sentence for people: rule, got, fix.
    :param headers: Headers of the answer.
    :param members: Further members of the document.
    """

    def __init__(
        self, status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members

    @property
    def title(self) -> str:
        """The standard's words for the status."""
        return HTTPStatus(self.status).phrase

    def as_response(self) -> Response:
        """Return the answer."""
        document = {"type": "about:blank", "title": self.title, "status": self.status, "detail": self.detail}
        return Response(
            orjson.dumps({**document, "code": self.code, **self.members}),
            self.status,
            self.headers,
            "application/problem+json",
        )


def not_found(what: str, name: object) -> Problem:
    """Return the problem of a thing that is not there, or not the caller's."""
    return Problem(404, "not_found", f"There is no {what} {str(name)!r}.")


def archived(workflow_id: str) -> Problem:
    """Return the problem of an archived workflow that somebody wants to start, to run again or to publish."""
    detail = f"Workflow {workflow_id!r} is archived, so nothing starts or publishes it; unarchive its agent first."
    return Problem(409, "workflow_archived", detail, workflow_id=workflow_id)


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.as_response()


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = CODES.get(error.status_code, "error")
    return Problem(error.status_code, code, str(error.detail), headers=error.headers).as_response()


async def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = error.errors()
    if any(problem["type"] == "json_invalid" for problem in problems):
        return Problem(400, "invalid_json", "The body must be JSON.").as_response()
    errors = [
        {"pointer": pointer(part for part in problem["loc"][1:]), "in": problem["loc"][0], "message": problem["msg"]}
        for problem in problems
    ]
    detail = f"The request does not fit: {errors[0]['pointer'] or errors[0]['in']}: {errors[0]['message']}."
    return Problem(422, "invalid_request", detail, errors=errors).as_response()


async def _on_database_trouble(request: Request, error: Exception) -> Response:
    log.error("database unavailable: %s", type(error).__name__, exc_info=error)
    detail = "The database does not answer; try again."
    return Problem(503, "database_unavailable", detail, headers={"retry-after": "1"}).as_response()


async def _on_database_error(request: Request, error: Exception) -> Response:
    """Answer where the database cannot serve now, and for text that it cannot hold; every other error is our own."""
    assert isinstance(error, DBAPIError)
    state = str(getattr(error.orig, "sqlstate", ""))
    if state.startswith(DATABASE_IN_TROUBLE):
        return await _on_database_trouble(request, error)
    if state != _NOT_A_TEXT:
        raise error
    return Problem(400, "invalid_text", "Text must not hold the character U+0000.").as_response()


async def _on_any_other(request: Request, error: Exception) -> Response:
    # Starlette logs the traceback; the caller learns nothing of our insides.
    return Problem(500, "internal_error", "The server could not answer; the reason is in its log.").as_response()


def install(app: FastAPI) -> None:
    """Make every error of an application a problem document."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    for unreachable in (OperationalError, InterfaceError, PoolTimeoutError, ConnectionError):
        app.add_exception_handler(unreachable, _on_database_trouble)
    app.add_exception_handler(DBAPIError, _on_database_error)
    app.add_exception_handler(Exception, _on_any_other)
