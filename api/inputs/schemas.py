"""What callers send and get of prepared inputs."""

from __future__ import annotations

from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue


class InputCreate(BaseModel):
    """Prepares an input."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"input": {"name": "Ann"}}]})

    input: JsonValue = Field(default_factory=dict)


class InputPrepared(BaseModel):
    """A stored input: ``input_id`` is what a run's ``conf`` in Airflow names."""

    input_id: UUID
