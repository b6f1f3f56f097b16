"""The models of the workflow format: the workflow itself and what all tasks have in common.

What a task's ``config`` holds depends on its type and is in ``compiler/steps``; triggers are in ``compiler/triggers``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from compiler.fields import Duration, FormatModel, Json, check_workflow_id
from compiler.quantities import CPU, MEMORY, STORAGE


class Goto(FormatModel):
    """Where the flow goes on after a failure."""

    goto: str = Field(description="The id of a task of this workflow.")


def _on_error_form(value: object) -> str:
    return "goto" if isinstance(value, dict | Goto) else "word"


OnError = Annotated[
    Annotated[Literal["fail", "continue"], Tag("word")] | Annotated[Goto, Tag("goto")], Discriminator(_on_error_form)
]


class RetryFields(FormatModel):
    """Attempts of a task; ``attempts`` counts the first."""

    attempts: int = Field(default=1, ge=1, le=100)
    backoff_seconds: float = Field(default=1.0, ge=0, le=86_400)
    max_backoff_seconds: float = Field(default=60.0, ge=0, le=86_400)


class CacheFields(FormatModel):
    """How long a task's result may be used again."""

    ttl_seconds: Duration


class ResourceLimits(FormatModel):
    """What tenant code may use, in Kubernetes quantities."""

    cpu: Annotated[str, AfterValidator(CPU)] | None = Field(default=None, description="Cores: 500m, 2.")
    memory: Annotated[str, AfterValidator(MEMORY)] | None = Field(default=None, description="Bytes: 512Mi, 2Gi.")
    ephemeral_storage: Annotated[str, AfterValidator(STORAGE)] | None = Field(default=None, description="Bytes: 1Gi.")


class TaskFields(FormatModel):
    """What every task has; ``config`` belongs to the type."""

    id: str = Field(description="Unique in the workflow; [a-z][a-z0-9_]{0,62}.")
    type: str
    name: str | None = None
    description: str | None = None
    config: dict[str, Json] = Field(default_factory=dict)
    next: list[str] = Field(default_factory=list, description="Tasks that follow a success.")
    join: Literal["all", "any"] = "all"
    retry: RetryFields | None = None
    timeout: Duration | None = Field(default=None, description="Of one attempt.")
    on_error: OnError = "fail"
    cache: CacheFields | None = None
    runtime_image: str | None = Field(default=None, description="Only for code and container.")
    resource_limits: ResourceLimits | None = Field(default=None, description="Only for code and container.")
    code: str | None = Field(default=None, description="Only for code and container.")


POD_FIELDS = ("runtime_image", "resource_limits", "code")
"""Task-level fields that only tasks with code or an image of the tenant's have."""


class TriggerFields(FormatModel):
    """What starts executions."""

    type: str
    config: dict[str, Json] = Field(default_factory=dict)


class Concurrency(FormatModel):
    """How many executions run at a time, altogether or for each key."""

    limit: int = Field(ge=1, le=100_000)
    key: str | None = Field(default=None, description="One expression over input and trigger.")


class Settings(FormatModel):
    """Settings of the whole workflow."""

    timeout: Duration | None = Field(default=None, description="Of an execution, counted from its acceptance.")
    concurrency: Concurrency | None = None
    conflict: Literal["fail", "use_existing", "terminate_existing"] | None = Field(
        default=None,
        description="What a start does where the limit is reached, instead of waiting. Without `concurrency` the "
        "limit is 1.",
    )
    fusion: Literal["auto", "off"] = "auto"
    budget_usd: float | None = Field(default=None, ge=0)
    error_workflow: Annotated[str, AfterValidator(check_workflow_id)] | None = Field(
        default=None, description="The id of a workflow that is started when an execution fails."
    )


UNAVAILABLE_SETTINGS = ("budget_usd",)


class WorkflowFields(FormatModel):
    """A workflow."""

    # Tasks and triggers are read one by one elsewhere, so that one slip hides no other.
    id: str = Field(description="[a-z][a-z0-9_]{0,62}")
    name: str
    version: str = Field(description="A label; publishing numbers versions itself.")
    description: str | None = None
    trigger: Json = None
    triggers: list[Json] | None = Field(default=None, min_length=1)
    input: dict[str, Json] | None = Field(default=None, description="JSON Schema 2020-12 of the input.")
    tasks: list[Json] = Field(min_length=1)
    output: Json = Field(default=None, description="Any JSON with expressions, evaluated at the end.")
    vars: list[str] = Field(default_factory=list, description="Names of variables the workflow reads.")
    settings: Settings = Field(default_factory=Settings)


def is_set(model: FormatModel, field: str) -> bool:
    """Tell whether the document gave a field (and not as null)."""
    return field in model.model_fields_set and getattr(model, field) is not None


def config_as_json(model: FormatModel) -> dict[str, Any]:
    """Return a config with its defaults, as the plan holds it; optional fields that were not given are left out."""
    data: dict[str, Any] = model.model_dump(mode="json", by_alias=True)
    names = {field.alias or name: name for name, field in type(model).model_fields.items()}
    return {
        key: value
        for key, value in data.items()
        if value is not None or (key in names and names[key] in model.model_fields_set)
    }
