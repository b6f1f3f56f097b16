"""What callers send and see of sessions. Tokens leave only in :class:`TokenAnswer`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.accounts.emails import Email
from api.accounts.passwords import GivenPassword
from api.accounts.secrets import GivenToken
from api.identity.callers import Via
from api.identity.permissions import Role

Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,38}$")]


class LoginCreate(BaseModel):
    """A login. Without ``organization`` the one that the user joined first."""

    model_config = ConfigDict(extra="forbid")

    email: Email
    password: GivenPassword
    organization: Slug | None = None


class RefreshCreate(BaseModel):
    """A refresh."""

    model_config = ConfigDict(extra="forbid")

    refresh_token: GivenToken


class SwitchCreate(BaseModel):
    """A change of the organisation."""

    model_config = ConfigDict(extra="forbid")

    organization: Slug


class AccessToken(BaseModel):
    """An access token and how many seconds it lasts."""

    access_token: str = Field(repr=False)
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105  The name of the scheme.
    expires_in: int
    organization: str
    role: Role


class TokenAnswer(AccessToken):
    """Tokens after a login or a refresh. The refresh token can be used once, for the next pair."""

    refresh_token: str = Field(repr=False)


class SessionView(BaseModel):
    """A login; ``current`` marks the one that asks."""

    id: UUID
    organization: str
    client: str
    created_at: datetime
    used_at: datetime
    expires_at: datetime
    current: bool


class SessionList(BaseModel):
    """The sessions that last, the newest first."""

    sessions: list[SessionView]


class OrganizationRole(BaseModel):
    """An organisation and the role in it."""

    slug: str
    name: str
    role: Role


class CallerView(BaseModel):
    """Who calls. ``user_id``, ``email``, ``name`` are null for the operator's token and for the operator's keys."""

    user_id: UUID | None
    email: str | None
    name: str | None
    organization: str
    role: Role
    via: Via
    permissions: list[str]
    organizations: list[OrganizationRole]
