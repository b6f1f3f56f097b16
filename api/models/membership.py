"""Who belongs to an organisation, and the keys made in it."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from api.models.base import Base, CreatedAt, JsonColumn, NewId, OrganizationKey, Timestamp

_ROLES = "role IN ('organization_owner', 'team_lead', 'developer', 'viewer')"


class Membership(Base):
    """The role of a user in an organisation."""

    __tablename__ = "memberships"
    __table_args__ = (CheckConstraint(_ROLES, "role"), Index(None, "user_id"))

    organization_id: Mapped[OrganizationKey]
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    role: Mapped[str]
    created_at: Mapped[CreatedAt]


class Team(Base):
    """Members of an organisation under a name."""

    __tablename__ = "teams"
    __table_args__ = (UniqueConstraint("organization_id", "name"),)

    organization_id: Mapped[OrganizationKey]
    id: Mapped[NewId]
    name: Mapped[str]
    created_at: Mapped[CreatedAt]


class TeamMember(Base):
    """A member in a team; who leaves the organisation leaves its teams."""

    __tablename__ = "team_members"
    __table_args__ = (
        ForeignKeyConstraint(["organization_id", "team_id"], ["teams.organization_id", "teams.id"], ondelete="CASCADE"),
        ForeignKeyConstraint(
            ["organization_id", "user_id"], ["memberships.organization_id", "memberships.user_id"], ondelete="CASCADE"
        ),
        Index(None, "organization_id", "user_id"),
    )

    organization_id: Mapped[OrganizationKey]
    team_id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(primary_key=True)


class Invitation(Base):
    """An invitation of an address; its token is stored as a sha256. ``invited_by`` is null for the operator."""

    __tablename__ = "invitations"
    __table_args__ = (CheckConstraint(_ROLES, "role"), Index(None, "digest"))

    organization_id: Mapped[OrganizationKey]
    id: Mapped[NewId]
    email: Mapped[str]
    role: Mapped[str]
    digest: Mapped[bytes]
    by_mail: Mapped[bool]
    invited_by: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    created_at: Mapped[CreatedAt]
    expires_at: Mapped[Timestamp]
    accepted_at: Mapped[Timestamp | None]
    revoked_at: Mapped[Timestamp | None]


class ApiKey(Base):
    """A key for programs, stored as its sha256. ``made_by`` is null for the operator.

    The prefixes of all organisations share an index, since a key is looked for before its organisation is known; it is
    not unique, for no key of an organisation may tell of another's.
    """

    __tablename__ = "api_keys"
    __table_args__ = (Index(None, "prefix"),)

    organization_id: Mapped[OrganizationKey]
    id: Mapped[NewId]
    name: Mapped[str]
    prefix: Mapped[str]
    digest: Mapped[bytes]
    permissions: Mapped[JsonColumn]
    made_by: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    created_at: Mapped[CreatedAt]
    expires_at: Mapped[Timestamp | None]
    revoked_at: Mapped[Timestamp | None]
    last_used_at: Mapped[Timestamp | None]
