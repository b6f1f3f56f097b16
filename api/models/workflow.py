"""Workflows, their published versions and what Airflow loads of them."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Computed,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from api.models.base import Base, CreatedAt, JsonColumn, NewId, OrganizationKey, TextKey, Timestamp


class Agent(Base):
    """A workflow's identity. ``workflow_id`` is the id in the workflow's JSON, unique in the organisation.

    While ``paused_at`` is set, none of its executions is given to Airflow; ``resumed_at`` is when the last pause ended.
    While ``archived_at`` is set, nothing starts it.
    """

    __tablename__ = "agents"
    __table_args__ = (UniqueConstraint("organization_id", "workflow_id"),)

    organization_id: Mapped[OrganizationKey]
    id: Mapped[NewId]
    workflow_id: Mapped[str]
    name: Mapped[str]
    description: Mapped[str | None]
    created_at: Mapped[CreatedAt]
    created_by: Mapped[str | None]
    updated_at: Mapped[CreatedAt]
    paused_at: Mapped[Timestamp | None]
    resumed_at: Mapped[Timestamp | None]
    archived_at: Mapped[Timestamp | None]


class WorkflowVersion(Base):
    """A published version; never changed. The highest number is the current one.

    ``source`` is the JSON as it was sent. ``plan_digest`` names the plan's artifact, ``dag_digest`` the DAG file's.
    ``restored_from`` is the number of the version that a rollback took it from. ``created_by`` published it,
    ``authors`` wrote it.
    """

    __tablename__ = "workflow_versions"
    __table_args__ = (
        UniqueConstraint("organization_id", "agent_id", "number"),
        ForeignKeyConstraint(["organization_id", "agent_id"], ["agents.organization_id", "agents.id"]),
        Index(None, "organization_id", "agent_id", "plan_digest"),
    )

    organization_id: Mapped[OrganizationKey]
    id: Mapped[NewId]
    agent_id: Mapped[UUID]
    number: Mapped[int]
    label: Mapped[str]
    source: Mapped[bytes] = mapped_column(LargeBinary)
    source_digest: Mapped[str] = mapped_column(Computed("encode(sha256(source), 'hex')", persisted=True))
    plan_digest: Mapped[str]
    dag_digest: Mapped[str]
    dag_id: Mapped[str]
    created_at: Mapped[CreatedAt]
    created_by: Mapped[str | None]
    restored_from: Mapped[int | None]
    authors: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'::text[]"))


class VersionPin(Base):
    """Which version of another workflow the calls of a version mean that name one; never changed.

    ``version_id`` is of the calling workflow. ``reference`` is what the call names, as JSON: a number or a label.
    """

    __tablename__ = "version_pins"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "version_id"], ["workflow_versions.organization_id", "workflow_versions.id"]
        ),
        ForeignKeyConstraint(
            ["organization_id", "pinned_version_id"], ["workflow_versions.organization_id", "workflow_versions.id"]
        ),
    )

    organization_id: Mapped[OrganizationKey]
    version_id: Mapped[UUID] = mapped_column(primary_key=True)
    workflow_id: Mapped[TextKey]
    reference: Mapped[TextKey]
    pinned_version_id: Mapped[UUID]


class Artifact(Base):
    """The bytes of a plan or a DAG file, by their sha256.

    They are an object that lies at ``location``, where that is set.
    """

    __tablename__ = "artifacts"
    __table_args__ = (CheckConstraint("num_nonnulls(content, location) = 1", name="place"),)

    organization_id: Mapped[OrganizationKey]
    sha256: Mapped[TextKey]
    content: Mapped[bytes | None] = mapped_column(LargeBinary)
    location: Mapped[str | None]
    size: Mapped[int]
    created_at: Mapped[CreatedAt]


class Release(Base):
    """A state of what Airflow loads: the files whose :class:`ReleaseArtifact` says so."""

    __tablename__ = "releases"

    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    created_at: Mapped[CreatedAt]


class ReleaseArtifact(Base):
    """A file of the releases from ``valid_from`` on, up to and without ``valid_to``; null means to this day."""

    __tablename__ = "release_artifacts"
    __table_args__ = (
        ForeignKeyConstraint(["organization_id", "sha256"], ["artifacts.organization_id", "artifacts.sha256"]),
        Index(None, "organization_id", "sha256"),
        Index(None, "valid_from"),
        Index(None, "valid_to"),
    )

    organization_id: Mapped[OrganizationKey]
    name: Mapped[TextKey]
    valid_from: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    valid_to: Mapped[int | None] = mapped_column(BigInteger)
    sha256: Mapped[str]
    size: Mapped[int]


class WebhookRoute(Base):
    """A path and method of an organisation, owned by one workflow. ``config`` is the trigger's."""

    __tablename__ = "webhook_routes"
    __table_args__ = (ForeignKeyConstraint(["organization_id", "agent_id"], ["agents.organization_id", "agents.id"]),)

    organization_id: Mapped[OrganizationKey]
    path: Mapped[TextKey]
    method: Mapped[TextKey]
    agent_id: Mapped[UUID]
    config: Mapped[JsonColumn]


class PreparedInput(Base):
    """An input that waits for a run that is started in Airflow: only its id goes through there."""

    __tablename__ = "prepared_inputs"
    __table_args__ = (ForeignKeyConstraint(["organization_id", "agent_id"], ["agents.organization_id", "agents.id"]),)

    organization_id: Mapped[OrganizationKey]
    id: Mapped[NewId]
    agent_id: Mapped[UUID]
    input: Mapped[JsonColumn]
    created_at: Mapped[CreatedAt]
