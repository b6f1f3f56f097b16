"""What callers send and see of teams."""

from __future__ import annotations

from uuid import UUID

from pydantic import BaseModel, ConfigDict

from api.names import Name


class TeamCreate(BaseModel):
    """A new team."""

    model_config = ConfigDict(extra="forbid")

    name: Name


class TeamView(BaseModel):
    """A team and the ids of the users in it."""

    id: UUID
    name: str
    user_ids: list[UUID]


class TeamList(BaseModel):
    """The teams, by name."""

    teams: list[TeamView]
