"""What the API tells of workflows."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class Published(BaseModel):
    """The answer to a publish.

    ``digest`` is the plan's sha256; ``release`` is what Airflow loads; ``webhooks`` are URLs; ``diagnostics`` are the
    compiler's warnings.
    """

    workflow_id: str
    version: int
    digest: str
    release: str
    dag_id: str
    webhooks: list[str]
    diagnostics: list[dict[str, Any]]


UNCHANGED: dict[int | str, dict[str, Any]] = {200: {"model": Published, "description": "It is published already"}}
"""What an endpoint that publishes answers besides 201."""
