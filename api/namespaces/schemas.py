"""What callers send and see of warm pods."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from compiler.images import canonical_image
from compiler.model import ResourceLimits
from compiler.plan import Network

MOST_KINDS = 10


def _is_image(text: str) -> str:
    if canonical_image(text) is None:
        raise ValueError("must be the name of a container image, like 'python:3.11-slim'")
    return text


class WarmPool(BaseModel):
    """Pods that wait for Python steps with this image, network and limits; what is left out is as in a workflow."""

    model_config = ConfigDict(extra="forbid")

    image: Annotated[str, AfterValidator(_is_image)] = "python:3.11-slim"
    network: Network = "none"
    resource_limits: ResourceLimits = Field(default_factory=ResourceLimits)
    size: Annotated[int, Field(ge=1)]


class WarmPoolsChange(BaseModel):
    """All of the organisation's warm pods; none: every pod is started when it is needed."""

    model_config = ConfigDict(extra="forbid")

    pools: Annotated[list[WarmPool], Field(max_length=MOST_KINDS)]


class WarmPoolsView(BaseModel):
    """The organisation's warm pods. ``most``: how many may wait at a time, of all kinds together."""

    pools: list[WarmPool]
    most: int
