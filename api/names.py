"""Names that people give to things."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, StringConstraints


def _is_printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must be one line of printable characters")
    return value


Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100), AfterValidator(_is_printable)
]
