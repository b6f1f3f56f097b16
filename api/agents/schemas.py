"""What callers send and see of agents and their drafts."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from pydantic.config import JsonDict

from api.agents.repository import Status
from api.texts import Description, Name, WorkflowId

_EXAMPLE: JsonDict = {
    "name": "Support triage",
    "workflow_id": "support_triage",
    "description": "Sorts what customers write.",
}


class AgentCreate(BaseModel):
    """A new agent. ``workflow_id`` is that of ``workflow`` where it has one; else it is made of the name."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_EXAMPLE]})

    name: Name
    description: Description | None = None
    workflow_id: WorkflowId | None = None
    workflow: dict[str, Any] | None = None
    canvas: dict[str, Any] | None = None


class AgentUpdate(BaseModel):
    """Changes of an agent: only the fields that are sent."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "Triage"}]})

    # Optional, but not null; the default is never read.
    name: Name = ""
    description: Description | None = None


class DraftUpdate(BaseModel):
    """A draft, whole: what is left out is gone. ``workflow`` is kept as it is sent and need not be complete."""

    model_config = ConfigDict(extra="forbid")

    workflow: dict[str, Any]
    canvas: dict[str, Any] | None = None


class DraftState(BaseModel):
    """How a draft stands. ``changed``: it differs from the newest version, or there is none."""

    etag: str
    changed: bool
    updated_at: datetime | None
    updated_by: str | None


class AgentView(BaseModel):
    """An agent. ``version`` is the number of its newest version.

    ``status``: ``draft``: nothing of it was ever published. ``archived``: nothing starts it. ``active``: published, but
    it or its organisation is paused: what starts it is kept, and nothing of it is given to Airflow. ``deployed``:
    published, and Airflow gets what starts it.
    """

    id: UUID
    workflow_id: str
    name: str
    description: str | None
    status: Status
    version: int | None
    draft: DraftState
    created_at: datetime
    created_by: str | None
    updated_at: datetime
    archived_at: datetime | None


class AgentList(BaseModel):
    """A page of agents, the newest first. ``next`` is the ``before`` of the next page; null on the last one."""

    agents: list[AgentView]
    next: UUID | None


class DraftView(BaseModel):
    """A draft. ``workflow`` is as it was sent, to the byte."""

    agent_id: UUID
    workflow: dict[str, Any]
    canvas: dict[str, Any] | None
    updated_at: datetime | None
    updated_by: str | None
