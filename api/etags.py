"""Optimistic concurrency (RFC 9110, 13.1): a change names the state it was made from."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Depends, Request

from api.problems import Problem

_TAG = re.compile(r'\s*(W/)?"([\x21\x23-\x7e\x80-\xff]*)"\s*(?:,|$)')


async def read_if_match(request: Request) -> frozenset[str]:
    """Return the strong entity tags of ``If-Match``; ``*`` stands for any state.

    :raises Problem: 428 where the header is missing, 400 where it is malformed.
    """
    given = ",".join(request.headers.getlist("if-match")).strip()
    if not given:
        detail = "This changes what others may be changing too: send `If-Match` with the `ETag` you read it with."
        raise Problem(428, "precondition_required", detail)
    if given == "*":
        return frozenset("*")
    tags, place = set(), 0
    while place < len(given):
        match = _TAG.match(given, place)
        if match is None:
            raise Problem(400, "bad_request", 'If-Match must be entity tags like "3-0123456789ab", or *.')
        if match[1] is None:  # A weak tag never matches where the strong comparison is asked for.
            tags.add(match[2])
        place = match.end()
    return frozenset(tags)


IfMatch = Annotated[frozenset[str], Depends(read_if_match)]


def require_match(given: frozenset[str], current: str) -> None:
    """Check that a change was made from the current state.

    :param current: The state's tag, without quotes.
    :raises Problem: 412, with the current tag.
    """
    if "*" not in given and current not in given:
        detail = "Somebody changed it since you read it: read it again, and make the change anew."
        raise Problem(412, "precondition_failed", detail, headers={"etag": quoted(current)}, etag=quoted(current))


def quoted(tag: str) -> str:
    """Return a tag as it stands in headers."""
    return f'"{tag}"'
