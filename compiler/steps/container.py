"""``container``: an image of the tenant's, run in a pod. The image is a field of the task."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from compiler.fields import Json, problem
from compiler.model import TaskFields
from compiler.plan import Network
from compiler.steps.base import StepConfig, TaskProblem

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
_OURS = ("AGENT_FACTORY_", "KUBERNETES_")


def _verbatim(text: str) -> str:
    """Check a text that goes to the container as it is.

    :raises PydanticCustomError: It holds what would be taken for an expression, or what no process can be given.
    """
    if "\0" in text:
        raise problem("invalid_config", "must hold no NUL")
    if "{{" in text or "{%" in text:
        # What an execution brings never becomes part of a command line or an environment.
        raise problem("invalid_config", "must hold no expression: it goes to the container as it is; use `input`")
    return text


def _env_name(name: str) -> str:
    if _ENV_NAME.fullmatch(name) is None:
        raise problem("invalid_config", "must have names of letters, digits and _ only")
    if name.upper().startswith(_OURS):
        raise problem("invalid_config", "must have no names that begin with AGENT_FACTORY_ or KUBERNETES_")
    return name


Verbatim = Annotated[str, AfterValidator(_verbatim)]
EnvName = Annotated[str, AfterValidator(_env_name)]


class ContainerConfig(StepConfig):
    """Config of ``container``. Output: the JSON of the file it wrote."""

    # It compiles for Kubernetes; for a process it never does (``needs_kubernetes``).
    available: ClassVar[bool] = True
    barrier: ClassVar[bool] = True
    in_pod: ClassVar[bool] = True

    command: list[Verbatim] = Field(default_factory=list)
    args: list[Verbatim] = Field(default_factory=list)
    env: dict[EnvName, Verbatim] = Field(default_factory=dict)
    input: dict[str, Json] = Field(default_factory=dict)
    network: Network = "none"

    def task_problems(self, fields: TaskFields) -> Iterator[TaskProblem]:
        """Yield what a container lacks or cannot use."""
        if not fields.runtime_image:
            yield TaskProblem(None, "missing_field", "A task of type 'container' needs `runtime_image`.")
        if fields.code is not None:
            message = "A container runs what is in its image; `code` belongs to tasks of type 'code'."
            yield TaskProblem("code", "invalid_config", message)
