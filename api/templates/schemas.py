"""What callers send and see of templates."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, model_validator

from api.names import Name as Word
from api.texts import Description, Name, WorkflowId

Source = Literal["own", "public"]


def _are_different(tags: list[str]) -> list[str]:
    if len(set(tags)) < len(tags):
        raise ValueError("must name each tag once")
    return tags


Tags = Annotated[list[Word], Field(max_length=20), AfterValidator(_are_different)]
Number = Annotated[int, Field(ge=1, le=2**31 - 1)]


class TemplateFields(BaseModel):
    """What people say of a template. ``input_example`` is an input to try its workflow with."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    description: Description | None = None
    category: Word | None = None
    tags: Tags = []
    input_example: JsonValue = None


class TemplateCreate(TemplateFields):
    """A new template, made from a ``workflow``, or from an agent: from its draft, or from its published ``version``."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "Triage", "category": "support", "workflow": {"id": "triage", "tasks": []}}]
        }
    )

    workflow: dict[str, Any] | None = None
    canvas: dict[str, Any] | None = None
    agent_id: UUID | None = None
    version: Number | None = None

    @model_validator(mode="after")
    def _has_one_origin(self) -> TemplateCreate:
        if (self.workflow is None) == (self.agent_id is None):
            raise ValueError("`workflow` or `agent_id` must be given, and not both")
        if self.version is not None and self.agent_id is None:
            raise ValueError("`version` is of an agent: `agent_id` must be given too")
        if self.canvas is not None and self.workflow is None:
            raise ValueError("`canvas` goes with `workflow`; that of an agent comes with its draft")
        return self


class TemplateUpdate(BaseModel):
    """Changes of a template: only the fields that are sent."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"tags": ["webhook"]}]})

    # Optional, but not null; the defaults are never read.
    name: Name = ""
    description: Description | None = None
    category: Word | None = None
    tags: Tags = []
    input_example: JsonValue = None
    workflow: dict[str, Any] = {}
    canvas: dict[str, Any] | None = None


class TemplateUse(BaseModel):
    """A new agent from a template. Without ``workflow_id`` its workflow's id is made of the name.

    Without ``description`` it has the template's.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "First line"}]})

    name: Name
    description: Description | None = None
    workflow_id: WorkflowId | None = None


class TemplateView(BaseModel):
    """A template. ``id`` is a word of public ones, which come with the product and stay as they are."""

    id: str
    source: Source
    name: str
    description: str | None
    category: str | None
    tags: list[str]
    etag: str
    created_at: datetime | None
    created_by: str | None
    updated_at: datetime | None
    updated_by: str | None


class TemplateDetail(TemplateView):
    """A template with its workflow as it was sent, to the byte."""

    workflow: dict[str, Any]
    canvas: dict[str, Any] | None
    input_example: JsonValue


class TemplateList(BaseModel):
    """A page of templates: the own ones, the newest first, then the public ones.

    ``next`` is the ``before`` of the next page; null on the last one.
    """

    templates: list[TemplateView]
    next: str | None
