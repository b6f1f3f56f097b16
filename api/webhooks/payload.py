"""Reads a webhook request: the workflow's ``input`` and its ``trigger``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request
from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import Request as PlainRequest

from api.edge import parse_json, read_body
from api.problems import Problem

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
MAX_FIELDS = 1000

_SECRET_WORDS = ("authorization", "cookie", "token", "secret", "password", "api-key", "apikey", "signature")


def describe_trigger(request: Request, path: str, credential: str | None = None) -> dict[str, Any]:
    """Return the ``trigger`` of expressions: no credentials, one value a header.

    :param credential: A header besides those whose names tell.
    """
    headers = {
        name: value for name, value in request.headers.items() if name != credential and not _is_credential(name)
    }
    return {
        "type": "webhook",
        "method": request.method,
        "path": path,
        "headers": headers,
        "query": _fields(request.query_params.multi_items()),
    }


def _is_credential(header: str) -> bool:
    return any(word in header for word in _SECRET_WORDS)


async def read_raw(request: Request, limit: int) -> bytes:
    """Return the body as it came, which signatures are of; a GET has none.

    :raises Problem: 413 for one over ``limit`` bytes.
    """
    return b"" if request.method == "GET" else await read_body(request, limit)


async def read_input(request: Request, body: bytes) -> Any:
    """Return the ``input``: for GET the query, else the JSON body, the form fields, or ``{}``.

    :raises Problem: 400 for a broken body, 415 for another media type.
    """
    if request.method == "GET":
        return _fields(request.query_params.multi_items())
    if not body:
        return {}
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json")):
        return parse_json(body)
    if media_type == "application/x-www-form-urlencoded":
        return _read_urlencoded(body)
    if media_type == "multipart/form-data":
        return await _read_multipart(request, body)
    detail = f"The body must be JSON or form fields; got media type {media_type[:100] or 'none'!r}."
    raise Problem(415, "unsupported_media_type", detail, headers={"accept": "application/json"})


def _read_urlencoded(body: bytes) -> dict[str, Any]:
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, strict_parsing=False, errors="strict", max_num_fields=MAX_FIELDS
        )
    except ValueError:
        detail = f"The form must be UTF-8 with at most {MAX_FIELDS} fields."
        raise Problem(400, "invalid_form", detail) from None
    return _fields(pairs)


async def _read_multipart(request: Request, body: bytes) -> dict[str, Any]:
    """Read the fields of a form; files are not taken."""

    async def replay() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    try:
        async with PlainRequest(request.scope, replay).form(max_files=0, max_fields=MAX_FIELDS) as form:
            return _fields((name, value) for name, value in form.multi_items() if not isinstance(value, UploadFile))
    except (MultiPartException, FormParserError, ValueError, KeyError):
        raise Problem(400, "invalid_form", "The multipart form is broken, too large, or holds files.") from None
    except Exception as error:
        # Starlette turns its own parser's error into an HTTP error where the request belongs to an application.
        if getattr(error, "status_code", None) == 400:
            raise Problem(400, "invalid_form", "The multipart form is broken, too large, or holds files.") from None
        raise


def _fields(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return fields as an object; a name that comes twice gives a list."""
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name not in fields:
            fields[name] = value
        elif isinstance(fields[name], list):
            fields[name].append(value)
        else:
            fields[name] = [fields[name], value]
    return fields
