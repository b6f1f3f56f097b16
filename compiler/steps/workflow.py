"""``workflow``: runs another workflow as a step."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import AfterValidator

from compiler.fields import Json, is_identifier, problem
from compiler.steps.base import StepConfig


def _check_workflow_id(value: str) -> str:
    if not is_identifier(value):
        raise problem("unsafe_identifier", "must be a workflow id: a-z, then a-z, 0-9 and _, at most 63")
    return value


class WorkflowConfig(StepConfig):
    """Config of ``workflow``. Output: the child's."""

    available: ClassVar[bool] = True
    barrier: ClassVar[bool] = True
    unavailable: ClassVar[tuple[str, ...]] = ("version",)
    verbatim: ClassVar[frozenset[str]] = frozenset({"workflow", "version"})

    workflow: Annotated[str, AfterValidator(_check_workflow_id)]
    version: str | int | None = None
    input: dict[str, Json]
    wait: bool = True
