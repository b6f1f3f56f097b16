"""``workflow``: runs another workflow as a step."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import AfterValidator

from compiler.fields import Json, check_workflow_id
from compiler.steps.base import StepConfig


class WorkflowConfig(StepConfig):
    """Config of ``workflow``. Output: the child's."""

    available: ClassVar[bool] = True
    barrier: ClassVar[bool] = True
    unavailable: ClassVar[tuple[str, ...]] = ("version",)
    verbatim: ClassVar[frozenset[str]] = frozenset({"workflow", "version"})

    workflow: Annotated[str, AfterValidator(check_workflow_id)]
    version: str | int | None = None
    input: dict[str, Json]
    wait: bool = True
