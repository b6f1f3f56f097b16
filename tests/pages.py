"""The tables of the pages in docs/, whose examples are tests."""

from __future__ import annotations

import re
from pathlib import Path


def page(name: str) -> str:
    """Return the text of ``docs/<name>.md``."""
    return (Path(__file__).parents[1] / "docs" / f"{name}.md").read_text(encoding="utf-8")


def rows_of(text: str, heading: str) -> list[tuple[str, ...]]:
    """Return the cells of the rows below a table's heading, their code marks and escapes taken away."""
    lines = text[text.index(heading) :].splitlines()[2:]
    found = []
    for line in lines:
        if not line.startswith("|"):
            break
        cells = re.split(r"(?<!\\)\|", line)[1:-1]
        found.append(tuple(cell.strip().strip("`").replace("\\|", "|") for cell in cells))
    return found
