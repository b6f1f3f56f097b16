"""Pages by key: the last row's key is where the next page begins, so that pages stay right while rows are added."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeVar
from uuid import UUID

from fastapi import Query

Row = TypeVar("Row")

Limit = Annotated[int, Query(ge=1, le=200, description="The most rows of a page.")]
Before = Annotated[UUID | None, Query(description="The `next` of the page before.")]


def split(found: Sequence[Row], limit: int) -> tuple[Sequence[Row], bool]:
    """Return the rows of a page and whether there are more.

    :param found: Up to ``limit + 1`` rows.
    """
    return found[:limit], len(found) > limit
