"""What callers send and see of invitations."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from api.accounts.emails import Email
from api.accounts.passwords import GivenPassword
from api.accounts.secrets import GivenToken
from api.identity.permissions import MemberRole
from api.names import Name


class InvitationCreate(BaseModel):
    """Whom to invite, in which role."""

    model_config = ConfigDict(extra="forbid")

    email: Email
    role: MemberRole


class InvitationView(BaseModel):
    """An invitation. ``sent`` tells whether a mail went out; if not, the operator prints the link."""

    id: UUID
    email: str
    role: MemberRole
    status: Literal["open", "accepted", "revoked", "expired"]
    sent: bool
    invited_by: UUID | None
    created_at: datetime
    expires_at: datetime


class InvitationList(BaseModel):
    """Invitations, the newest first."""

    invitations: list[InvitationView]


class InvitationAccept(BaseModel):
    """The acceptance of an invitation. Who has an account gives its password; else it becomes that of a new one."""

    model_config = ConfigDict(extra="forbid")

    token: GivenToken
    name: Name
    password: GivenPassword
