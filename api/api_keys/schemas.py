"""What callers send and see of API keys."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from api.identity.permissions import is_pattern
from api.names import Name


def _is_permission(value: str) -> str:
    if not is_pattern(value):
        raise ValueError("must be a permission of docs/roles.md, 'noun:*', or '*'")
    return value


Pattern = Annotated[str, Field(max_length=64), AfterValidator(_is_permission)]


class ApiKeyCreate(BaseModel):
    """A new key. ``permissions`` may name only what the maker may; ``expires_at`` null is a key without an end."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    permissions: Annotated[list[Pattern], Field(min_length=1, max_length=50)]
    expires_at: AwareDatetime | None


class ApiKeyView(BaseModel):
    """A key, without its secret. ``made_by`` is null for the operator; ``last_used_at`` is exact to a minute."""

    id: UUID
    name: str
    prefix: str
    permissions: list[str]
    made_by: UUID | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class ApiKeyMade(ApiKeyView):
    """A new key with its secret, which is shown this once."""

    key: str = Field(repr=False)


class ApiKeyList(BaseModel):
    """Keys, the newest first."""

    api_keys: list[ApiKeyView]
