"""Short texts that callers send and PostgreSQL keeps as ``text``."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from compiler.fields import IDENTIFIER


def _storable(value: str) -> str:
    """Return a text as it is.

    :raises ValueError: It holds U+0000, which PostgreSQL's ``text`` cannot.
    """
    if "\x00" in value:
        raise ValueError("must not hold the character U+0000")
    return value


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be blank")
    return value


Storable = AfterValidator(_storable)
Name = Annotated[str, Field(min_length=1, max_length=255), Storable, AfterValidator(_not_blank)]
Description = Annotated[str, Field(max_length=10_000), Storable]
WorkflowId = Annotated[str, Field(pattern=rf"^{IDENTIFIER.pattern}$")]
