"""Workflows in the bodies of requests, kept byte for byte: numbers, key order, duplicates and all."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import orjson

from api.problems import Problem
from compiler.read import MAX_BYTES

MAX_CANVAS_BYTES = 500_000

# Numbers stay text: they are not wanted, and int() refuses very long ones.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str)
_BLANKS = re.compile(r"[ \t\n\r]*")


def member(body: bytes, name: str) -> bytes | None:
    """Return a member of a JSON object as it stands there; the last one of its name, None where there is none.

    :param body: JSON that was parsed before, so it is known to be an object.
    """
    text = body.decode()
    found = None
    for key, begin, end in _members(text):
        if key == name:
            found = text[begin:end].encode()
    return found


def _members(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield the keys of the outermost object, and where their values begin and end."""
    place = _skip(text, 0) + 1
    while text[place := _skip(text, place)] != "}":
        key, place = _DECODER.raw_decode(text, place)
        begin = _skip(text, _skip(text, place) + 1)
        _, end = _DECODER.raw_decode(text, begin)
        yield key, begin, end
        place = _skip(text, end)
        if text[place] == ",":
            place += 1


def _skip(text: str, place: int) -> int:
    match = _BLANKS.match(text, place)
    assert match is not None, "it matches nothing too"
    return match.end()


def check_sizes(source: bytes, canvas: Any) -> None:
    """Check a draft's sizes.

    :raises Problem: 413.
    """
    if len(source) > MAX_BYTES:
        raise Problem(413, "too_large", f"A workflow may have {MAX_BYTES:,} bytes of JSON; got {len(source):,}.")
    size = len(orjson.dumps(canvas))
    if size > MAX_CANVAS_BYTES:
        raise Problem(413, "too_large", f"A canvas may have {MAX_CANVAS_BYTES:,} bytes of JSON; got {size:,}.")


def skeleton(workflow_id: str, name: str) -> bytes:
    """Return the draft of a new agent: a workflow that has no tasks yet."""
    workflow = {"id": workflow_id, "name": name, "version": "1", "trigger": {"type": "manual"}, "tasks": []}
    return orjson.dumps(workflow, option=orjson.OPT_INDENT_2)
