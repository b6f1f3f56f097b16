"""``integration``: an action of a connector."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from compiler.fields import Json
from compiler.steps.base import StepConfig


class IntegrationConfig(StepConfig):
    """Config of ``integration``. Output: the action's, mapped."""

    verbatim: ClassVar[frozenset[str]] = frozenset({"integration", "action"})

    integration: str = Field(min_length=1)
    action: str = Field(min_length=1)
    input: dict[str, Json]
    output: dict[str, Json] = Field(default_factory=dict)
