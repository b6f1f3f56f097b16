"""What callers send and see of organisations."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.identity.permissions import Role
from api.names import Name

Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,38}$")]


class OrganizationCreate(BaseModel):
    """A new organisation; the slug stays for ever, since DAGs and addresses are named after it."""

    model_config = ConfigDict(extra="forbid")

    slug: Slug
    name: Name


class OrganizationChange(BaseModel):
    """A new name."""

    model_config = ConfigDict(extra="forbid")

    name: Name


class OrganizationView(BaseModel):
    """An organisation and the caller's role in it."""

    id: UUID
    slug: str
    name: str
    role: Role


class OrganizationList(BaseModel):
    """The caller's organisations, the first joined first."""

    organizations: list[OrganizationView]
