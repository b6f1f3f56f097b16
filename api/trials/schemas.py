"""What callers send for a test of a draft."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StrictBool
from pydantic.config import JsonDict

_EXAMPLE: JsonDict = {"input": {"message": "I was charged twice."}, "pins": {"notify": {"status": 200}}}


class TrialCreate(BaseModel):
    """A test of a draft.

    :param input: The execution's input.
    :param vars: Values of variables, in the place of the organisation's.
    :param pins: Outputs of steps that are not to run: by the task's id, and for a workflow that is called by
        ``<workflow>.<task>``.
    :param step: The one step to run, with ``pins`` for those that it reads; without it the whole draft runs.
    :param live: Whether steps that do something outside really do it. Without it they must be pinned.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_EXAMPLE]})

    input: JsonValue = Field(default_factory=dict)
    vars: dict[str, JsonValue] = Field(default_factory=dict)
    pins: dict[str, JsonValue] = Field(default_factory=dict)
    step: str | None = None
    live: StrictBool = False
