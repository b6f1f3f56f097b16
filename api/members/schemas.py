"""What callers send and see of members."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from api.identity.permissions import MemberRole


class MemberChange(BaseModel):
    """A new role."""

    model_config = ConfigDict(extra="forbid")

    role: MemberRole


class MemberView(BaseModel):
    """A member."""

    user_id: UUID
    email: str
    name: str
    role: MemberRole
    joined_at: datetime


class MemberList(BaseModel):
    """The members, the first that joined first."""

    members: list[MemberView]
