"""Parts of JSON documents as they are written: numbers, key order, blanks, duplicates and all. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

Path = tuple[str | int, ...]
"""Keys and positions, from the outside in."""
Span = tuple[int, int]

# Numbers stay text: they are not wanted, and int() refuses very long ones.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str)
_BLANKS = re.compile(r"[ \t\n\r]*")


def member(body: bytes, name: str) -> bytes | None:
    """Return a member of a JSON object as it stands there; the last one of its name, None where there is none.

    :param body: JSON that was parsed before, so it is known to be an object.
    """
    text = body.decode()
    span = _find(text, (name,))
    return None if span is None else text[span[0] : span[1]].encode()


def replace(body: bytes, values: Mapping[Path, str]) -> bytes:
    """Return a JSON object with other texts in some places; everything else stays as it is written.

    :param body: JSON that was parsed before, so it is known to be an object.
    :param values: Texts by their places, none inside of another. A member of the object itself that is not there is
        put in; what else is not there is left out.
    """
    text = body.decode()
    found = {path: _find(text, path) for path in values}
    there = [(span, values[path]) for path, span in found.items() if span is not None]
    for (begin, end), value in sorted(there, reverse=True):
        text = text[:begin] + json.dumps(value, ensure_ascii=False) + text[end:]
    missing = [path[0] for path, span in found.items() if span is None and len(path) == 1]
    for name in reversed(missing):
        text = _put_in(text, str(name), values[(name,)])
    return text.encode()


def _put_in(text: str, name: str, value: str) -> str:
    """Put a member at the beginning of a text's object."""
    inside = _skip(text, 0) + 1
    comma = "" if text[_skip(text, inside)] == "}" else ", "
    written = f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}{comma}"
    return text[:inside] + written + text[inside:]


def _find(text: str, path: Path) -> Span | None:
    """Return where a value begins and ends; of several members of a name the last one counts."""
    span: Span | None = (_skip(text, 0), len(text))
    for part in path:
        assert span is not None
        children = _items(text, span[0]) if isinstance(part, int) else _members(text, span[0])
        span = None
        for key, child in children:
            if key == part:
                span = child
        if span is None:
            return None
    return span


def _members(text: str, place: int) -> Iterator[tuple[str, Span]]:
    """Yield the keys of the object at a place, and where their values begin and end; none where it is no object."""
    if text[place] != "{":
        return
    place += 1
    while text[place := _skip(text, place)] != "}":
        key, place = _DECODER.raw_decode(text, place)
        begin = _skip(text, _skip(text, place) + 1)
        _, end = _DECODER.raw_decode(text, begin)
        yield key, (begin, end)
        place = _after(text, end)


def _items(text: str, place: int) -> Iterator[tuple[int, Span]]:
    """Yield the positions in the list at a place, and where their values begin and end; none where it is no list."""
    if text[place] != "[":
        return
    place, index = place + 1, 0
    while text[place := _skip(text, place)] != "]":
        _, end = _DECODER.raw_decode(text, place)
        yield index, (place, end)
        place, index = _after(text, end), index + 1


def _after(text: str, end: int) -> int:
    """Return where what follows a value begins: behind the comma, if there is one."""
    place = _skip(text, end)
    return place + 1 if text[place] == "," else place


def _skip(text: str, place: int) -> int:
    match = _BLANKS.match(text, place)
    assert match is not None, "it matches nothing too"
    return match.end()
