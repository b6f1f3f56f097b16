"""``workflow``: runs another workflow as a step."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import AfterValidator

from compiler.fields import Json, check_workflow_id, problem
from compiler.steps.base import StepConfig


def _check_version(version: str | int | None) -> str | int | None:
    """Return a version as it is.

    :raises PydanticCustomError: It is neither a label nor a number that publishing can give.
    """
    if version == "" or (isinstance(version, int) and not 0 < version < 10**9):
        raise problem("invalid_config", "must be a version's number, from 1, or its label, which is not empty")
    return version


class WorkflowConfig(StepConfig):
    """Config of ``workflow``. Output: the child's.

    ``version`` pins a version of the called workflow: the number that publishing gave it, or its label.
    """

    available: ClassVar[bool] = True
    barrier: ClassVar[bool] = True
    verbatim: ClassVar[frozenset[str]] = frozenset({"workflow", "version"})

    workflow: Annotated[str, AfterValidator(check_workflow_id)]
    version: Annotated[str | int | None, AfterValidator(_check_version)] = None
    input: dict[str, Json]
    wait: bool = True
