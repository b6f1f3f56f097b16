"""``container``: an image of the tenant's, run in a pod. The image is a field of the task."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from compiler.fields import Json
from compiler.steps.base import StepConfig


class ContainerConfig(StepConfig):
    """Config of ``container``. Output: the JSON of the file it wrote."""

    barrier: ClassVar[bool] = True
    in_pod: ClassVar[bool] = True

    command: list[str] = Field(default_factory=list)
    args: list[str] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict)
    input: dict[str, Json] = Field(default_factory=dict)
    network: Literal["none", "egress"] = "none"
