"""Who changed what: rows that are only added."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import CheckConstraint, Index
from sqlalchemy.orm import Mapped

from api.models.base import Base, CreatedAt, NewId, OrganizationKey

_KINDS = "actor IN ('user', 'api_key', 'operator')"


class _Entry:
    """What both logs tell of a change. ``before`` and ``after`` are sha256 digests of what was there, never the thing
    itself. Who made it may be gone since, so nothing refers to them."""

    id: Mapped[NewId]
    at: Mapped[CreatedAt]
    actor: Mapped[str]
    user_id: Mapped[UUID | None]
    api_key_id: Mapped[UUID | None]
    action: Mapped[str]
    resource: Mapped[str]
    before: Mapped[bytes | None]
    after: Mapped[bytes | None]
    address: Mapped[str | None]
    request_id: Mapped[str | None]


class AuditEntry(_Entry, Base):
    """A change in an organisation."""

    __tablename__ = "audit_log"
    __table_args__ = (CheckConstraint(_KINDS, "actor"), Index(None, "organization_id", "resource", "id"))

    organization_id: Mapped[OrganizationKey]


class PlatformAuditEntry(_Entry, Base):
    """A change that is of no organisation, or outlives the one it is of: ``resource`` tells which that was."""

    __tablename__ = "platform_audit_log"
    __table_args__ = (CheckConstraint(_KINDS, "actor"),)
