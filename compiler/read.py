"""Stage 1, read: bytes in, one JSON object out, or the reasons why not. Nothing here recurses or raises."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from compiler.problems import Parts, Problems

MAX_BYTES = 1_000_000
MAX_DEPTH = 50

_TOO_DEEP = f"Lists and objects may be nested {MAX_DEPTH} deep; these are deeper."
_NOT_A_NUMBER = re.compile(rb"NaN|Infinity")


def read(source: bytes | str, problems: Problems) -> dict[str, Any] | None:
    """Parse a workflow file strictly.

    :param source: The file's bytes; a str is taken as its UTF-8.
    :return: The JSON object, or None where there is none; the problems say why.
    """
    data = source.encode("utf-8", "surrogatepass") if isinstance(source, str) else source
    if len(data) > MAX_BYTES:
        problems.error("limit_exceeded", (), f"A workflow may have {MAX_BYTES:,} bytes of JSON; this one has more.")
        return None
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        _report_broken(data, error, problems)
        return None
    too_deep = _first_too_deep(document)
    if too_deep is not None:
        problems.error(
            "limit_exceeded", too_deep, f"Lists and objects may be nested {MAX_DEPTH} deep; these are deeper."
        )
        return None
    _report_duplicate_keys(data, problems)
    if not isinstance(document, dict):
        problems.error("invalid_json", (), f"A workflow must be a JSON object; got {_kind(document)}.")
        return None
    return document


def _report_broken(data: bytes, error: orjson.JSONDecodeError, problems: Problems) -> None:
    """Say why the bytes are no JSON."""
    if "depth limit" in error.msg:
        problems.error("limit_exceeded", (), _TOO_DEEP)
    elif data.startswith(b"\xef\xbb\xbf"):
        problems.error("invalid_json", (), "A workflow must be UTF-8 without a byte order mark; save it without.")
    elif "UTF-8" in error.msg:
        problems.error("invalid_json", (), "A workflow must be UTF-8; some bytes of this one are not.")
    else:
        found = _NOT_A_NUMBER.match(data.decode("utf-8")[error.pos :].encode())
        what = f"JSON has no {found.group(0).decode()}" if found else error.msg
        message = f"A workflow must be valid JSON; line {error.lineno}, column {error.colno}: {what}."
        problems.error("invalid_json", (), message)


def _first_too_deep(document: Any) -> Parts | None:
    """Return the path of a list or object nested deeper than allowed, if there is one."""
    level: list[tuple[Parts, Any]] = [((), document)]
    for _ in range(MAX_DEPTH):
        level = [
            ((*parts, key), child)
            for parts, value in level
            for key, child in _children(value)
            if isinstance(child, dict | list)
        ]
        if not level:
            return None
    return level[0][0]


def _children(value: Any) -> list[tuple[str | int, Any]]:
    if isinstance(value, dict):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, list) else []


class _Pairs(dict[str, Any]):
    """An object as parsed, with the keys that stood in it twice."""

    repeated: list[str]


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) == len(pairs):
        return result
    marked = _Pairs(result)
    seen: set[str] = set()
    marked.repeated = [key for key, _ in pairs if key in seen or seen.add(key)]  # type: ignore[func-returns-value]
    return marked


def _report_duplicate_keys(data: bytes, problems: Problems) -> None:
    """Report keys that stand twice in one object: which of them counts is anyone's guess.

    The fast parser keeps the last one in silence, so the standard one looks again; the nesting is known to be small.
    """
    parsed = json.loads(data.decode(), object_pairs_hook=_pairs, parse_int=str, parse_float=str)
    todo: list[tuple[Parts, Any]] = [((), parsed)]
    while todo:
        parts, value = todo.pop()
        for key in dict.fromkeys(getattr(value, "repeated", ())):
            problems.error("invalid_json", (*parts, key), f"A key may stand once in an object; '{key}' stands twice.")
        todo.extend(((*parts, key), child) for key, child in _children(value) if isinstance(child, dict | list))


def _kind(value: Any) -> str:
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        return "a string"
    return "null" if value is None else "a boolean" if isinstance(value, bool) else "a number"
