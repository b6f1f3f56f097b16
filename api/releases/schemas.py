"""What the runtime API tells of releases."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints


class ReleaseEntry(BaseModel):
    """One file. ``size`` is in bytes."""

    name: str
    sha256: str
    size: int


class ReleaseManifest(BaseModel):
    """A release: its number as text, and its files ordered by name.

    Where ``since`` names a release, they are only the files that are new or other than in that one, and ``removed``
    are the names of those that are gone.
    """

    release: str
    since: str | None = None
    artifacts: list[ReleaseEntry] = []
    removed: list[str] = []


class ArtifactRequest(BaseModel):
    """Which files are asked for."""

    model_config = ConfigDict(extra="forbid")

    sha256: Annotated[
        list[Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]], Field(min_length=1, max_length=500)
    ]
