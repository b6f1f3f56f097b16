"""Infers the output schema of an ``ai_inference`` from how its output is used.

A prompt says "classify the intent"; a condition compares ``classify.output.intent`` with 'billing'. So the model must
answer an object with a text ``intent``, and 'billing' is one of the words to choose from. What is compared is only
*suggested*, never an ``enum``: the flow has a default branch for everything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from compiler.expressions import Use

PLAIN_FIELD = "text"
"""What a model's output has without a schema: reading it infers nothing."""

_TYPES = {"string": "string", "number": "number", "boolean": "boolean"}


@dataclass(slots=True)
class _Part:
    """How one part of an output is used, and the parts below it."""

    kinds: set[str] = field(default_factory=set)
    values: dict[str, None] = field(default_factory=dict)
    required: bool = False
    below: dict[str | int, _Part] = field(default_factory=dict)


def infer_schema(uses: Iterable[Use]) -> dict[str, Any] | None:
    """Return the schema of an object with the fields that are read, or None where none but ``text`` is.

    :param uses: The uses of one task's output, in a fixed order.
    """
    whole = _Part()
    for use in uses:
        if len(use.path) >= 2 and use.path[0] == "output" and isinstance(use.path[1], str):
            _add(whole, use)
    if not set(whole.below) - {PLAIN_FIELD}:
        return None
    return _object(whole)


def _add(whole: _Part, use: Use) -> None:
    """Note a use at the part it reads, and at the parts on the way to it."""
    part = whole
    for key in use.path[1:]:
        if key is None:
            part.kinds.add("any")
            return
        # All items of a list have one schema.
        part = part.below.setdefault(0 if isinstance(key, int) else key, _Part())
        part.required = part.required or not use.optional
    part.kinds.add(use.kind)
    part.values.update(dict.fromkeys(use.values))


def _schema(part: _Part) -> dict[str, Any]:
    """Return the schema of a part; ``{}`` allows anything."""
    # To be rendered as text or passed on says nothing about the type.
    kinds = part.kinds - {"any", "render"}
    if part.below:
        return _container(part) if not kinds else {}
    if len(kinds) != 1:
        return {}
    (kind,) = kinds
    schema: dict[str, Any] = {"type": _TYPES[kind]}
    if kind == "string" and part.values:
        values = list(part.values)
        schema["description"] = _suggestion(values)
        schema["examples"] = values
    return schema


def _container(part: _Part) -> dict[str, Any]:
    keys = set(part.below)
    if keys == {0}:
        return {"type": "array", "items": _schema(part.below[0])}
    return {} if 0 in keys else _object(part)


def _object(part: _Part) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {str(key): _schema(below) for key, below in part.below.items()},
        "required": [str(key) for key, below in part.below.items() if below.required],
    }


def _suggestion(values: Sequence[str]) -> str:
    """Return the sentence that tells a model what to answer."""
    named = ", ".join(f'"{value}"' for value in values if value != "other")
    return f'One of: {named} or "other".' if named else 'For example "other".'
