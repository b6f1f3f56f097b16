"""Users, which belong to no organisation, and how they show who they are."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, false
from sqlalchemy.orm import Mapped, mapped_column

from api.models.base import Base, CreatedAt, JsonColumn, NewId, TextKey, Timestamp


class User(Base):
    """A person. ``email`` is in lower case; ``verified`` tells that a link sent to it was used."""

    __tablename__ = "users"
    __table_args__ = (CheckConstraint("email = lower(email)", "lower_email"),)

    id: Mapped[NewId]
    email: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    password_hash: Mapped[str | None]
    verified: Mapped[bool] = mapped_column(server_default=false())
    platform_admin: Mapped[bool] = mapped_column(server_default=false())
    disabled_at: Mapped[Timestamp | None]
    created_at: Mapped[CreatedAt]


class UserIdentity(Base):
    """A user as an OpenID Connect provider knows them; for a login that is still to come."""

    __tablename__ = "user_identities"
    __table_args__ = (Index(None, "user_id"),)

    issuer: Mapped[TextKey]
    subject: Mapped[TextKey]
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    created_at: Mapped[CreatedAt]


class UserSession(Base):
    """A login. Its refresh tokens follow each other; ``acting_organization_id`` is the organisation it acts for."""

    __tablename__ = "user_sessions"
    __table_args__ = (Index(None, "user_id"),)

    id: Mapped[NewId]
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    acting_organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id", ondelete="CASCADE"))
    client: Mapped[str]
    created_at: Mapped[CreatedAt]
    used_at: Mapped[CreatedAt]
    expires_at: Mapped[Timestamp]
    revoked_at: Mapped[Timestamp | None]


class RefreshToken(Base):
    """A refresh token, as its sha256. One that was used stays, so that a second use of it is noticed."""

    __tablename__ = "refresh_tokens"
    __table_args__ = (Index(None, "session_id"),)

    digest: Mapped[bytes] = mapped_column(primary_key=True)
    session_id: Mapped[UUID] = mapped_column(ForeignKey("user_sessions.id", ondelete="CASCADE"))
    created_at: Mapped[CreatedAt]
    expires_at: Mapped[Timestamp]
    used_at: Mapped[Timestamp | None]


class PasswordReset(Base):
    """A link by which a user sets a new password, once; as the sha256 of its token."""

    __tablename__ = "password_resets"
    __table_args__ = (Index(None, "user_id"),)

    digest: Mapped[bytes] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    by_mail: Mapped[bool]
    created_at: Mapped[CreatedAt]
    expires_at: Mapped[Timestamp]


class Attempts(Base):
    """How often something that is throttled was tried since ``began_at``; ``subject`` is a digest."""

    __tablename__ = "attempts"

    subject: Mapped[TextKey]
    count: Mapped[int]
    began_at: Mapped[CreatedAt]


class SigningKey(Base):
    """A key that signs access tokens. The private part is encrypted under ``AGENT_FACTORY_SECRET_KEY``.

    It signs from ``signs_from`` on, until a later one does, and is trusted until ``trusted_until``.
    """

    __tablename__ = "signing_keys"

    kid: Mapped[TextKey]
    public_jwk: Mapped[JsonColumn]
    private_key: Mapped[bytes]
    created_at: Mapped[CreatedAt]
    signs_from: Mapped[Timestamp]
    trusted_until: Mapped[Timestamp | None]
