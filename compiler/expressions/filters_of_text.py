"""Filters whose value is a string, and the way from and to text."""

from __future__ import annotations

import orjson

from compiler.expressions.arguments import want_text, want_whole
from compiler.expressions.budget import MAX_OUTPUT_BYTES, Budget
from compiler.expressions.errors import failed
from compiler.expressions.values import Json, budgeted_text, json_text, measure

_MOST = MAX_OUTPUT_BYTES


def lower(budget: Budget, value: Json) -> Json:
    """Return the string in lower case."""
    text = want_text("lower", value)
    budget.spend_text(len(text))
    return text.lower()


def upper(budget: Budget, value: Json) -> Json:
    """Return the string in upper case."""
    text = want_text("upper", value)
    budget.spend_text(len(text))
    return text.upper()


def trim(budget: Budget, value: Json, chars: Json = None) -> Json:
    """Return the string without white space, or without ``chars``, at both ends."""
    text = want_text("trim", value)
    stripped = None if chars is None else want_text("trim", chars, "the characters to take away as a string")
    # Each character at an end is looked up in `chars`.
    budget.spend_text(len(text))
    budget.spend(len(text) * len(stripped or "") // 4096)
    return text.strip(stripped)


def replace(budget: Budget, value: Json, old: Json, new: Json, count: Json = None) -> Json:
    """Return the string with ``old`` replaced by ``new``, everywhere or the first ``count`` times."""
    text = want_text("replace", value)
    before = want_text("replace", old, "the text to replace as a string")
    after = want_text("replace", new, "the new text as a string")
    times = -1 if count is None else want_whole("replace", "the count", count, 0, _MOST)
    budget.spend_text(len(text))
    found = text.count(before)
    budget.spend_text(len(text) + (found if times < 0 else min(found, times)) * (len(after) - len(before)))
    return text.replace(before, after, times)


def split(budget: Budget, value: Json, separator: Json = None, count: Json = None) -> Json:
    """Return the parts of the string between ``separator`` (white space if none), cut at most ``count`` times."""
    text = want_text("split", value)
    between = None if separator is None else want_text("split", separator, "the separator as a string")
    if between == "":
        raise failed("`split` takes a separator of at least one character; got an empty string")
    times = _MOST if count is None else want_whole("split", "the count", count, 0, _MOST)
    budget.spend_text(len(text))
    # One cut more than the budget has room for is enough to see that it has none.
    parts = text.split(between, min(times, budget.operations_left))
    budget.spend(len(parts))
    return list(parts)


def truncate(
    budget: Budget, value: Json, length: Json = 255, killwords: Json = False, end: Json = "...", leeway: Json = 5
) -> Json:
    """Return the string cut to ``length`` characters with ``end`` included, at a word's end unless ``killwords``.

    A string of at most ``length + leeway`` characters stays as it is.
    """
    text = want_text("truncate", value)
    ending = want_text("truncate", end, "the end as a string")
    room = want_whole("truncate", "the length", length, 0, _MOST)
    slack = want_whole("truncate", "the leeway", leeway, 0, _MOST)
    if len(ending) > room:
        raise failed(f"`truncate` needs room for its end: the length must be at least {len(ending)}; got {room}")
    budget.spend_text(len(text))
    if len(text) <= room + slack:
        return text
    kept = text[: room - len(ending)]
    if not killwords:
        kept = kept.rsplit(" ", 1)[0]
    return kept + ending


def string(budget: Budget, value: Json) -> Json:
    """Return the text of the value: a string as it is, all else compact JSON."""
    return budgeted_text(value, budget)


def tojson(budget: Budget, value: Json) -> Json:
    """Return the value as compact JSON; a string gets its quotes."""
    return json_text(value, budget)


def fromjson(budget: Budget, value: Json) -> Json:
    """Return the value that the string holds as JSON."""
    text = want_text("fromjson", value)
    budget.spend_text(len(text))
    # Every element of a list or object is at least a comma.
    budget.spend(text.count(",") + text.count("[") + text.count("{"))
    try:
        result: Json = orjson.loads(text)
    except ValueError as error:
        raise failed(f"`fromjson` takes a string that is JSON; {error}") from None
    measure(result, lambda size: None)
    return result
