"""``container``: an image of the tenant's, run in a pod. The image is a field of the task."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from compiler.fields import Json
from compiler.model import TaskFields
from compiler.plan import Network
from compiler.steps.base import StepConfig, TaskProblem


class ContainerConfig(StepConfig):
    """Config of ``container``. Output: the JSON of the file it wrote."""

    # It compiles for Kubernetes; for a process it never does (``needs_kubernetes``).
    available: ClassVar[bool] = True
    barrier: ClassVar[bool] = True
    in_pod: ClassVar[bool] = True

    command: list[str] = Field(default_factory=list)
    args: list[str] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict)
    input: dict[str, Json] = Field(default_factory=dict)
    network: Network = "none"

    def task_problems(self, fields: TaskFields) -> Iterator[TaskProblem]:
        """Yield what a container lacks or cannot use."""
        if not fields.runtime_image:
            yield TaskProblem(None, "missing_field", "A task of type 'container' needs `runtime_image`.")
        if fields.code is not None:
            message = "A container runs what is in its image; `code` belongs to tasks of type 'code'."
            yield TaskProblem("code", "invalid_config", message)
