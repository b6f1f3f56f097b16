"""Server-sent events (the ``text/event-stream`` of the HTML standard, as far as the control plane uses it)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Event:
    """One event of a stream.

    :param id: What a new request names as ``Last-Event-ID`` to go on behind it; empty where there is none.
    :param name: What kind of event it is, such as ``step``.
    """

    id: str
    name: str
    data: dict[str, Any]


def read_events(lines: Iterable[str]) -> Iterator[Event]:
    """Yield the events of a stream's lines. Comments, and events that were cut off, are left out."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
            continue
        if "data" in fields:
            yield Event(fields.get("id", ""), fields.get("event", "message"), json.loads(fields["data"]))
        fields = {}
