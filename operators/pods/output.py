"""What a container prints, as it is shown in the task's log: bounded, each line once, whoever looks at the pod.

How much was shown is written on the pod, so that who goes on goes on there. It goes to the log and nowhere else.
"""

from __future__ import annotations

from operators.pods.spec import LABEL

SHOWN = LABEL + "shown"
"""Annotation: how many bytes of the container's output have been shown."""
OUTPUT_LIMIT = 100_000
"""Bytes of a pod's output that are shown."""
SHOW_SECONDS = 2.0
CUT = f"(only the first {OUTPUT_LIMIT:,} bytes of a pod's output are shown)"


def shown_bytes(annotations: dict[str, str] | None) -> int:
    """Return how much of a pod's output was shown already."""
    text = (annotations or {}).get(SHOWN, "0")
    return int(text) if text.isascii() and text.isdigit() else 0


def new_lines(output: bytes, shown: int, *, last: bool) -> tuple[list[str], int]:
    """Return the lines to show, and how many bytes have been shown then.

    :param output: The first ``OUTPUT_LIMIT`` bytes of what the container has printed.
    :param shown: Of them, how many were shown before.
    :param last: Whether nothing more comes; before, a line that has no end yet is left for later.
    """
    end = len(output) if last or len(output) >= OUTPUT_LIMIT else output.rfind(b"\n") + 1
    if end <= shown:
        return [], shown
    lines = [_printable(line) for line in output[shown:end].decode("utf-8", "replace").splitlines()]
    return lines + ([CUT] if end >= OUTPUT_LIMIT else []), end


def _printable(line: str) -> str:
    """Take away what would steer a terminal, or begin a group of Airflow's log view."""
    clean = "".join(sign if sign.isprintable() or sign == "\t" else "\N{REPLACEMENT CHARACTER}" for sign in line)
    return "| " + clean
