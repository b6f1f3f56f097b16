"""What the object store holds of executions."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import BigInteger, Index
from sqlalchemy.orm import Mapped, mapped_column

from api.models.base import Base, CreatedAt, OrganizationKey, TextKey


class StoredOutput(Base):
    """An output that is an object, because it is too large for the journal. ``location`` says where it lies.

    The row is there before the object, and goes after it. It outlives its execution until the object is removed, so it
    does not refer to it.
    """

    __tablename__ = "stored_outputs"
    __table_args__ = (Index(None, "organization_id", "sha256"),)

    organization_id: Mapped[OrganizationKey]
    execution_id: Mapped[UUID] = mapped_column(primary_key=True)
    sha256: Mapped[TextKey]
    size: Mapped[int] = mapped_column(BigInteger)
    location: Mapped[str]
    created_at: Mapped[CreatedAt]
