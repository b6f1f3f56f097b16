"""What all tables share."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from sqlalchemy import JSON, DateTime, ForeignKey, MetaData, Text, func, text
from sqlalchemy.orm import DeclarativeBase, mapped_column

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

# PostgreSQL's json, not jsonb: tenant values keep their key order, their numbers as written, and may hold \u0000.
JsonColumn = Annotated[Any, mapped_column(JSON)]
OptionalJson = Annotated[Any, mapped_column(JSON(none_as_null=True), nullable=True)]
Timestamp = Annotated[datetime, mapped_column(DateTime(timezone=True))]
CreatedAt = Annotated[datetime, mapped_column(DateTime(timezone=True), server_default=func.now())]
OrganizationKey = Annotated[UUID, mapped_column(ForeignKey("organizations.id"), primary_key=True)]
# Version 7: ordered by time, so that indexes grow at one end.
NewId = Annotated[UUID, mapped_column(primary_key=True, server_default=text("uuidv7()"))]
TextKey = Annotated[str, mapped_column(Text, primary_key=True)]


class Base(DeclarativeBase):
    """Base of the tables."""

    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map = {str: Text}  # noqa: RUF012  SQLAlchemy's own protocol
