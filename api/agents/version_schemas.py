"""What callers send and see of an agent's versions."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field


class VersionView(BaseModel):
    """A published version. ``digest`` is its plan's sha256, ``source_digest`` that of its JSON as it was sent.

    ``restored_from`` is the number of the version that a rollback brought back with this one.
    """

    number: int
    label: str
    digest: str
    source_digest: str
    created_at: datetime
    created_by: str | None
    restored_from: int | None


class VersionDetail(VersionView):
    """A version with its workflow as it was sent, to the byte."""

    workflow: dict[str, Any]


class VersionList(BaseModel):
    """A page of versions, the newest first. ``next`` is the ``before`` of the next page; null on the last one."""

    versions: list[VersionView]
    next: int | None


class FieldChange(BaseModel):
    """A changed field: its JSON pointer inside of the task, trigger or workflow, and what stood and stands there.

    ``before`` is missing of what was added, ``after`` of what was removed.
    """

    path: str
    op: str
    before: Any = None
    after: Any = None


class Changed(BaseModel):
    """A task or trigger that both have."""

    id: str
    changes: list[FieldChange]


class Named(BaseModel):
    """A task or trigger that only one of the two has."""

    id: str
    type: str | None


class Parts(BaseModel):
    """Tasks by their ids (in the body of a map ``map/task``), or triggers by type and path, cron or event type."""

    added: list[Named]
    removed: list[Named]
    changed: list[Changed]


class EdgeView(BaseModel):
    """An edge."""

    source: str = Field(alias="from")
    target: str = Field(alias="to")
    kind: str


class Edges(BaseModel):
    """Edges that only one of the two has."""

    added: list[EdgeView]
    removed: list[EdgeView]


class WorkflowDiff(BaseModel):
    """What changed. ``truncated``: there is more than is told. ``workflow`` are changes outside of tasks and triggers.

    ``identical`` says that both mean the same JSON; their texts may differ.
    """

    agent_id: UUID
    before: str
    after: str
    identical: bool
    tasks: Parts
    edges: Edges
    triggers: Parts
    workflow: list[FieldChange]
    truncated: bool
