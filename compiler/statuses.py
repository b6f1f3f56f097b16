"""Which HTTP statuses a request expects: numbers, ranges as text, or a list of these."""

from __future__ import annotations

import re
from typing import Any

_RANGE = re.compile(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?")


def status_ranges(value: Any) -> tuple[tuple[int, int], ...]:
    """Return expected statuses as pairs of the first and the last.

    :raises ValueError: Something in it is no status and no range, a range is empty, or nothing is expected.
    """
    items = value if isinstance(value, list) else [value]
    if not items:
        raise ValueError("no status")
    return tuple(_range(item) for item in items)


def _range(item: Any) -> tuple[int, int]:
    if isinstance(item, int) and not isinstance(item, bool):
        first = last = item
    elif isinstance(item, str) and (match := _RANGE.fullmatch(item)):
        first, last = int(match[1]), int(match[2] or match[1])
    else:
        raise ValueError("no status")
    if not 100 <= first <= last <= 599:
        raise ValueError("no range of statuses")
    return first, last
