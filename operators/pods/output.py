"""What a container prints, as it is shown in the task's log: bounded, masked, each line once, whoever looks at the pod.

How much was shown is written on the pod, so that who goes on goes on there. It goes to the log and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable

from operators.pods.spec import LABEL
from operators.sandbox.watch import TAIL

SHOWN = LABEL + "shown"
"""Annotation: how many bytes of the container's output have been shown."""
OUTPUT_LIMIT = 100_000
"""Bytes of a pod's output that are shown."""
SHOW_SECONDS = 2.0
BEFORE = f"(only the last {TAIL:,} bytes of a step's output are shown)"
CUT = f"(only the first {OUTPUT_LIMIT:,} bytes of a pod's output are shown)"


def shown_bytes(annotations: dict[str, str] | None) -> int:
    """Return how much of a pod's output was shown already."""
    text = (annotations or {}).get(SHOWN, "0")
    return int(text) if text.isascii() and text.isdigit() else 0


def new_lines(output: bytes, shown: int, mask: Callable[[str], str], *, last: bool) -> tuple[list[str], int]:
    """Return the lines to show, and how many bytes have been shown then.

    :param output: The first ``OUTPUT_LIMIT`` bytes of what the container has printed.
    :param shown: Of them, how many were shown before.
    :param mask: Takes secrets out of whole lines.
    :param last: Whether nothing more comes; before, a line that has no end yet is left for later.
    """
    end = len(output) if last or len(output) >= OUTPUT_LIMIT else output.rfind(b"\n") + 1
    if end <= shown:
        return [], shown
    lines = _printable(mask(output[shown:end].decode("utf-8", "replace")))
    return lines + ([CUT] if end >= OUTPUT_LIMIT else []), end


def last_lines(tail: str) -> list[str]:
    """Return the lines to show of a step that shares its pod; its keeper tells the end of what it printed."""
    return [*([BEFORE] if len(tail.encode()) >= TAIL else []), *_printable(tail)]


def _printable(text: str) -> list[str]:
    """Return lines without what would steer a terminal, or begin a group of Airflow's log view."""
    return [
        "| " + "".join(sign if sign.isprintable() or sign == "\t" else "\N{REPLACEMENT CHARACTER}" for sign in line)
        for line in text.splitlines()
    ]
