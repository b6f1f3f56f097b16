"""What the runtime API tells of releases."""

from __future__ import annotations

from pydantic import BaseModel


class ReleaseArtifact(BaseModel):
    """One file. ``size`` is in bytes."""

    name: str
    sha256: str
    size: int


class ReleaseManifest(BaseModel):
    """A release: its number as text, and its files ordered by name."""

    release: str
    artifacts: list[ReleaseArtifact] = []
