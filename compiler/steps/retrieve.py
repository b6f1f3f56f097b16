"""``retrieve``: the documents of a collection that are nearest to a query."""

from __future__ import annotations

from pydantic import Field

from compiler.steps.base import StepConfig


class RetrieveConfig(StepConfig):
    """Config of ``retrieve``. Output: ``{documents}``."""

    collection: str = Field(min_length=1)
    query: str
    top_k: int | None = Field(default=None, ge=1)
