"""What drafts may be, and where one begins."""

from __future__ import annotations

from typing import Any

import orjson

from api.problems import Problem
from compiler.read import MAX_BYTES

MAX_CANVAS_BYTES = 500_000


def check_sizes(source: bytes, canvas: Any) -> None:
    """Check a draft's sizes.

    :raises Problem: 413.
    """
    if len(source) > MAX_BYTES:
        raise Problem(413, "too_large", f"A workflow may have {MAX_BYTES:,} bytes of JSON; got {len(source):,}.")
    size = len(orjson.dumps(canvas))
    if size > MAX_CANVAS_BYTES:
        raise Problem(413, "too_large", f"A canvas may have {MAX_CANVAS_BYTES:,} bytes of JSON; got {size:,}.")


def same_json(one: bytes, other: bytes) -> bool:
    """Tell whether two workflows say the same; blanks and the order of keys do not count."""
    return one == other or _canonical(one) == _canonical(other)


def _canonical(source: bytes) -> bytes:
    return orjson.dumps(orjson.loads(source), option=orjson.OPT_SORT_KEYS)


def skeleton(workflow_id: str, name: str) -> bytes:
    """Return the draft of a new agent: a workflow that has no tasks yet."""
    workflow = {"id": workflow_id, "name": name, "version": "1", "trigger": {"type": "manual"}, "tasks": []}
    return orjson.dumps(workflow, option=orjson.OPT_INDENT_2)
