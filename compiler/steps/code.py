"""``code``: a function of the tenant's, run in isolation. The code itself is a field of the task."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from compiler.fields import Json
from compiler.steps.base import StepConfig


class CodeConfig(StepConfig):
    """Config of ``code``. Output: what ``main`` returned."""

    barrier: ClassVar[bool] = True
    in_pod: ClassVar[bool] = True

    language: Literal["python", "javascript"]
    input: dict[str, Json] = Field(default_factory=dict)
    network: Literal["none", "egress"] = "none"
