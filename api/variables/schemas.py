"""What callers send and see of variables."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue

DEFAULT_ENVIRONMENT = "default"
EnvironmentName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,38}$")]
VariableName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]


class VariableSet(BaseModel):
    """Sets a variable. The value of a secret is a text, and is never shown again."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"value": "eu-west-1"}]})

    # Not in the errors of a request that does not fit, for it may be a secret.
    value: JsonValue = Field(repr=False)
    secret: bool = False


class VariableView(BaseModel):
    """A variable. ``value`` is null where it is secret."""

    name: str
    environment: str
    secret: bool
    value: JsonValue
    updated_at: datetime


class VariableList(BaseModel):
    """The variables of an organisation, or of one environment, by environment and name."""

    variables: list[VariableView]
