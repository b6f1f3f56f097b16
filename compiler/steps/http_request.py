"""``http_request``: one HTTP call."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from compiler.expressions import has_expression
from compiler.fields import Json, problem
from compiler.statuses import status_ranges
from compiler.steps.base import StepConfig
from compiler.steps.respond import check_headers
from compiler.urls import UrlError, check_beginning, parse_url

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
WITHOUT_BODY = frozenset({"GET", "HEAD"})
OWN_HEADERS = frozenset(
    [
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
)
"""Headers that frame or route the request: they are the client's."""
_BEFORE_EXPRESSION = re.compile(r".*?(?=\{\{|\{%|\{#)", re.DOTALL)


def check_method(method: str) -> str:
    """Return a method as it is; one that an expression gives is checked when the step runs.

    :raises PydanticCustomError: It is none.
    """
    if method not in METHODS and not has_expression(method):
        fix = f"; write {method.upper()}" if method.upper() in METHODS else ""
        raise problem("invalid_config", f"must be one of {', '.join(METHODS)}{fix}")
    return method


def check_url(url: str) -> str:
    """Return a URL as it is; of one with expressions only what stands before the first is checked.

    :raises PydanticCustomError: It can be no URL that may be called.
    """
    try:
        if has_expression(url):
            beginning = _BEFORE_EXPRESSION.match(url)
            # `{{-` takes away the spaces in front of it.
            check_beginning(beginning[0].rstrip() if beginning else "")
        else:
            parse_url(url)
    except UrlError as error:
        raise problem("invalid_config", str(error)) from None
    return url


def check_request_headers(headers: dict[str, str]) -> dict[str, str]:
    """Return headers as they are.

    :raises PydanticCustomError: A name is none, stands twice or is the client's own, or a value has a line break.
    """
    check_headers(headers)
    seen: set[str] = set()
    for name in headers:
        if name.lower() in OWN_HEADERS:
            raise problem("invalid_config", f"must leave out '{name}', which Agent Factory sets itself")
        if name.lower() in seen:
            raise problem("invalid_config", f"must have each name once, in whatever case; '{name}' stands twice")
        seen.add(name.lower())
    return headers


def check_statuses(value: Json) -> Json:
    """Return an expected status, a range as text, or a list of these as it is.

    :raises PydanticCustomError: It is none.
    """
    try:
        status_ranges(value)
    except ValueError:
        rule = "must be a status like 204, a range like '200-299', or a list of these"
        raise problem("invalid_config", rule) from None
    return value


_METHOD_SCHEMA = {"anyOf": [{"enum": list(METHODS)}, {"type": "string", "pattern": r"\{\{"}]}


class HTTPRequestConfig(StepConfig):
    """Config of ``http_request``. Output: ``{status, headers, json or text}``."""

    available: ClassVar[bool] = True
    verbatim: ClassVar[frozenset[str]] = frozenset({"expect_status"})

    method: Annotated[str, AfterValidator(check_method), WithJsonSchema(_METHOD_SCHEMA)] = "GET"
    url: Annotated[str, AfterValidator(check_url)] = Field(min_length=1, description="http:// or https://.")
    headers: Annotated[dict[str, str], AfterValidator(check_request_headers)] = Field(default_factory=dict)
    query: dict[str, Json] = Field(default_factory=dict, description="Added to the URL; a list repeats its name.")
    json_: Json = Field(default=None, alias="json")
    body: str | None = None
    expect_status: Annotated[Json, AfterValidator(check_statuses)] = Field(
        default="200-299", description="A status, a range like 200-299, or a list of these."
    )

    @model_validator(mode="after")
    def _check(self) -> HTTPRequestConfig:
        has_json = "json_" in self.model_fields_set
        if has_json and self.body is not None:
            raise problem("invalid_config", "needs either `json` or `body`, not both")
        if (has_json or self.body is not None) and self.method in WITHOUT_BODY:
            key = "json" if has_json else "body"
            raise problem("invalid_config", f"must have no `{key}` with {self.method}; set `method`, e.g. POST")
        return self

    @classmethod
    def output_keys(cls, config: dict[str, Any]) -> frozenset[str] | None:
        """Status and headers, and the body as ``json`` or as ``text``."""
        return frozenset({"status", "headers", "json", "text"})
