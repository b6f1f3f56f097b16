"""``http_request``: one HTTP call, through the guard of ``operators/egress``."""

from __future__ import annotations

import codecs
import json
import re
from dataclasses import dataclass, replace
from email.message import Message
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import orjson
from pydantic import JsonValue
from pydantic_core import to_json

from compiler.expressions import render, text_of
from compiler.plan import Step
from compiler.statuses import status_ranges
from compiler.steps.http_request import METHODS, OWN_HEADERS, WITHOUT_BODY
from compiler.urls import Url, UrlError, parse_url
from operators.settings import EGRESS_ALLOW, SettingsError, egress_policy
from operators.steps.base import Scope, StepFailedError, StepKey, StepResult, StepServices, config_error

if TYPE_CHECKING:
    from operators.egress import EgressClient, EgressResponse

IDEMPOTENCY_KEY = "Idempotency-Key"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
MAX_HEADER_BYTES = 32_768
MAX_JSON_DEPTH = 50
"""As in expressions, which could not read anything deeper."""
MAX_OUTPUT_BYTES = 8_000_000
"""Of the output as JSON: five megabytes of control characters would be thirty."""
CHARSETS = re.compile(
    r"ascii|big5|cp\d+|euc_jp|euc_kr|gb\w+|iso2022_jp|iso8859-\d+|koi8-[ru]|mac-roman|shift_jis|tis-620|"
    r"utf-(?:8|16|32)(?:-[bl]e)?"
)
"""Encodings of text on the web. Python knows others that are none (``unicode_escape``) or slow (``punycode``)."""


@dataclass(frozen=True, slots=True)
class HttpCall:
    """A rendered ``http_request``: no expressions left.

    :param expected: The statuses that are no failure, as ranges.
    :param timeout_seconds: The step's own; None leaves the client's limits.
    """

    method: str
    url: Url
    headers: tuple[tuple[str, str], ...]
    body: bytes | None
    expected: tuple[tuple[int, int], ...]
    timeout_seconds: float | None = None


class HttpRequest:
    """Yields ``{status, headers, json}``, or ``{status, headers, text}`` where the answer is no JSON."""

    def render(self, step: Step, scope: Scope) -> HttpCall:
        """Evaluate and check every part of the request.

        :raises StepFailedError: It is no request that may be sent.
        """
        config: dict[str, Any] = {
            name: value if name == "expect_status" else render(value, scope) for name, value in step.config.items()
        }
        method = text_of(config.get("method", "GET"))
        if method not in METHODS:
            raise config_error(f"`method` must be one of {', '.join(METHODS)}; got {method[:40]!r}")
        body, media_type = _body(config)
        if body is not None and method in WITHOUT_BODY:
            raise config_error(f"a {method} must have no body. Set `method`, e.g. POST")
        headers = _headers(config.get("headers"))
        if media_type is not None and not _has(headers, "content-type"):
            headers = (*headers, ("Content-Type", media_type))
        return HttpCall(
            method=method,
            url=_url(config.get("url"), config.get("query")),
            headers=headers,
            body=body,
            expected=status_ranges(config.get("expect_status", "200-299")),
            timeout_seconds=step.timeout_seconds,
        )

    async def call(self, request: HttpCall, services: StepServices, key: StepKey) -> StepResult:
        """Send the request once.

        :raises StepFailedError: ``http_status``, ``invalid_response``, or a code of ``operators.egress``.
        """
        # Imported here: it takes time, and most processes that import this module make no call.
        from operators.egress import EgressError, EgressRequest

        headers = request.headers
        if request.method not in SAFE_METHODS and not _has(headers, IDEMPOTENCY_KEY):
            headers = (*headers, (IDEMPOTENCY_KEY, str(key)))
        sent = EgressRequest(
            method=request.method,
            url=request.url,
            headers=headers,
            body=request.body,
            final_statuses=request.expected,
            total_seconds=request.timeout_seconds,
        )
        try:
            response = await _client(services).send(sent)
        except EgressError as error:
            raise StepFailedError(error.code, error.message, retryable=error.retryable) from None
        _check_status(request, response)
        return StepResult(_output(response))


def _client(services: StepServices) -> EgressClient:
    from operators.egress import EgressClient

    if services.egress is None:
        try:
            services.egress = EgressClient(egress_policy())
        except SettingsError:
            # Not its message: what the deployer wrote is not for tenants.
            message = f"the deployment's setting {EGRESS_ALLOW} must be readable. Ask whoever runs this installation"
            raise StepFailedError("invalid_settings", message, retryable=False) from None
    return services.egress


def _url(value: Any, query: Any) -> Url:
    if not isinstance(value, str):
        raise config_error(f"`url` must be text; got {text_of(value)[:100]}")
    try:
        url = parse_url(value)
        added = urlencode(_pairs(query))
        if not added:
            return url
        return replace(url, target=url.target + ("&" if "?" in url.target else "?") + added)
    except UrlError as error:
        # Not the URL itself: it may hold a key.
        raise config_error(f"`url` {error}") from None
    except UnicodeError:
        raise config_error("`query` must be UTF-8; it has half of a surrogate pair") from None


def _pairs(query: Any) -> list[tuple[str, str]]:
    """Return the parameters: a list repeats its name, null leaves it out."""
    pairs: list[tuple[str, str]] = []
    for name, value in (query or {}).items():
        values = value if isinstance(value, list) else [value]
        pairs += [(name, text_of(item)) for item in values if item is not None]
    return pairs


def _body(config: dict[str, Any]) -> tuple[bytes | None, str | None]:
    """Return the body and the media type it has unless the workflow says otherwise."""
    try:
        if "json" in config:
            text = json.dumps(config["json"], ensure_ascii=False, separators=(",", ":"), allow_nan=False)
            return text.encode(), "application/json"
        if config.get("body") is not None:
            return text_of(config["body"]).encode(), "text/plain; charset=utf-8"
    except ValueError:
        raise config_error("the body must be UTF-8 and its numbers JSON; got something that is neither") from None
    return None, None


def _headers(value: Any) -> tuple[tuple[str, str], ...]:
    """Return the headers with their values checked; null leaves one out. Messages have names only."""
    headers = [(name, text_of(item).strip(" \t")) for name, item in (value or {}).items() if item is not None]
    for name, text in headers:
        if name.lower() in OWN_HEADERS:
            raise config_error(f"`headers` must leave out {name!r}, which Agent Factory sets itself")
        if any(ord(character) < 32 and character != "\t" for character in text) or "\x7f" in text:
            raise config_error(f"`headers` must have values without line breaks; that of {name!r} has one")
        if any(0xD800 <= ord(character) < 0xE000 for character in text):
            raise config_error(f"`headers` must be UTF-8; that of {name!r} has half of a surrogate pair")
    if sum(len(name) + len(text) for name, text in headers) > MAX_HEADER_BYTES:
        raise config_error(f"`headers` must have at most {MAX_HEADER_BYTES:,} characters together")
    return tuple(headers)


def _has(headers: tuple[tuple[str, str], ...], wanted: str) -> bool:
    return any(name.lower() == wanted.lower() for name, _ in headers)


def _check_status(request: HttpCall, response: EgressResponse) -> None:
    status = response.status
    if any(first <= status <= last for first, last in request.expected):
        return
    expected = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in request.expected)
    # Not the body: a server may repeat what it was sent, credentials too.
    message = f"{request.method} {response.url.origin} must answer {expected}; got HTTP {status}"
    raise StepFailedError("http_status", message, retryable=status in (408, 429) or status >= 500)


def _output(response: EgressResponse) -> JsonValue:
    output: dict[str, JsonValue] = {"status": response.status, "headers": dict(response.headers)}
    content_type = Message()
    content_type["content-type"] = response.headers.get("content-type", "")
    media_type = content_type.get_content_type() if response.headers.get("content-type") else ""
    if response.body and (media_type == "application/json" or media_type.endswith("+json")):
        output["json"] = _parsed(response.body)
    else:
        output["text"] = _decoded(response.body, content_type.get_content_charset())
    if len(to_json(output)) > MAX_OUTPUT_BYTES:
        message = f"an output must have at most {MAX_OUTPUT_BYTES:,} bytes as JSON; this one has more"
        raise StepFailedError("response_too_large", message, retryable=False)
    return output


def _parsed(body: bytes) -> JsonValue:
    try:
        value: JsonValue = orjson.loads(body.removeprefix(codecs.BOM_UTF8))
    except orjson.JSONDecodeError:
        raise _invalid("must be JSON, as its content-type says; it is not") from None
    level: list[JsonValue] = [value]
    for _ in range(MAX_JSON_DEPTH):
        level = [child for item in level for child in _children(item)]
        if not level:
            return value
    raise _invalid(f"must be nested at most {MAX_JSON_DEPTH} deep")


def _children(value: JsonValue) -> list[JsonValue]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [child for child in inner if isinstance(child, dict | list)]


def _decoded(body: bytes, charset: str | None) -> str:
    """Return a body as text; what is no text in its encoding is replaced."""
    try:
        encoding = codecs.lookup(charset or "utf-8").name
    except (LookupError, ValueError):
        encoding = "utf-8"
    if CHARSETS.fullmatch(encoding) is None or body.startswith(codecs.BOM_UTF8):
        encoding = "utf-8"
    return body.removeprefix(codecs.BOM_UTF8).decode(encoding, "replace")


def _invalid(rule: str) -> StepFailedError:
    return StepFailedError("invalid_response", f"the answer {rule}", retryable=False)
