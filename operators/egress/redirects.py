"""Where a redirect leads, and what of the request goes there; the rules of browsers (RFC 9110, Fetch)."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from compiler.urls import UrlError, join_url
from operators.egress.errors import EgressError

if TYPE_CHECKING:
    from operators.egress.client import EgressRequest

REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CONTENT_HEADERS = frozenset(
    {"content-encoding", "content-language", "content-location", "content-type", "idempotency-key"}
)
"""What belongs to a body, or to the request that had one."""
_SECRET = re.compile(r"auth|cookie|token|key|secret|passw|credential|session|signature|jwt", re.IGNORECASE)
_NO_SECRET = frozenset({"idempotency-key"})


def is_secret_header(name: str) -> bool:
    """Tell whether a header's name says that its value is for one server only."""
    return _SECRET.search(name) is not None and name.lower() not in _NO_SECRET


def next_hop(request: EgressRequest, status: int, location: str | None) -> EgressRequest | None:
    """Return the request a redirect asks for, or None where the answer is the last.

    Headers that look like credentials stay behind where the origin (scheme, host or port) changes.

    :raises EgressError: ``invalid_redirect``: it leads to no URL that may be called.
    """
    if status not in REDIRECTS or location is None:
        return None
    if any(first <= status <= last for first, last in request.final_statuses):
        return None
    try:
        url = join_url(request.url, location)
    except UrlError as error:
        message = f"{request.url.origin} redirects to a URL that {error}"
        raise EgressError("invalid_redirect", message) from None
    following = replace(request, url=url)
    if _becomes_get(request.method, status):
        following = replace(following, method="GET", body=None, headers=_without(_CONTENT_HEADERS, following.headers))
    if url.origin != request.url.origin:
        secret = frozenset(name.lower() for name, _ in following.headers if is_secret_header(name))
        following = replace(following, headers=_without(secret, following.headers))
    return following


def _becomes_get(method: str, status: int) -> bool:
    return (status == 303 and method not in ("GET", "HEAD")) or (status in (301, 302) and method == "POST")


def _without(names: frozenset[str], headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in headers if name.lower() not in names)
