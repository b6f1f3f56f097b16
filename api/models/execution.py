"""Executions: the row, the journal, the leases, and the outbox to Airflow.

Executions and journal are partitioned by month, by the time in the execution's id: ``docs/upkeep.md``.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    ForeignKeyConstraint,
    Identity,
    Index,
    Text,
    UniqueConstraint,
    and_,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from api.models.base import Base, CreatedAt, JsonColumn, NewId, OptionalJson, OrganizationKey, TextKey, Timestamp
from api.settings import LONGEST_LEASE_SECONDS

EXECUTION_KEY = ["workflow_executions.organization_id", "workflow_executions.id"]


def _of_execution() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["organization_id", "execution_id"], EXECUTION_KEY, ondelete="CASCADE")


class WorkflowExecution(Base):
    """One run of a workflow.

    ``version_id`` is the version that was current at acceptance until the first lease pins the one that runs;
    ``plan_digest`` is null until then, and so is ``vars``, the snapshot of the variables. Where a call pinned a
    version it is that one from the start, and ``pinned_dag_id`` is the DAG it runs on; null for the workflow's own.
    ``halted`` is set by the first unhandled failure, while other units may still be at work: they start nothing more.
    ``answer`` is the first ``respond``. ``environment`` names the variables that it reads, ``secret_vars`` those of
    them that it may not. ``trigger_type`` and ``error_code`` are parts of ``trigger`` and ``error`` to search by: json
    that holds ``\\u0000`` cannot be looked into. While ``watched_until`` is ahead, somebody hears of every step.

    ``epoch`` grows when steps are run again that had succeeded; ``life`` with each reopening, whatever its reason, and
    ``reopened_at`` is when the last one was. ``clear_number`` is that of Airflow's run in this life; -1 where a new run
    has to take the place of one that is gone.

    ``relayed_at`` is when a relay first took it for Airflow, or when it began without one: from then to
    ``completed_at`` it takes up one of its workflow's ``concurrency_limit`` places, counted for each
    ``concurrency_key``. ``cancel_requested_at`` is kept until it is reopened. ``depth`` counts the executions that
    started one another up to this one. ``parent_execution_id`` is the execution that waits for it and takes it along
    when it ends; ``caller`` the attempt of a step that started it, unique by the lock that every start of a child
    takes (no index of a partitioned table can say so); ``error_of`` the failed execution that it was
    started for; ``error_handling`` what became of the failed one's own ``error_workflow``.
    """

    __tablename__ = "workflow_executions"
    __table_args__ = (
        ForeignKeyConstraint(["organization_id", "agent_id"], ["agents.organization_id", "agents.id"]),
        ForeignKeyConstraint(
            ["organization_id", "version_id"], ["workflow_versions.organization_id", "workflow_versions.id"]
        ),
        # The runtime API is asked by id alone.
        Index(None, "id"),
        # Lists, the newest first: the id is the time of acceptance. Without filters the primary key serves them.
        Index(None, "organization_id", "agent_id", "id"),
        Index(None, "organization_id", "status", "id"),
        Index(
            "ix_workflow_executions_error_code",
            "organization_id",
            "error_code",
            "id",
            postgresql_where=text("error_code IS NOT NULL"),
        ),
        Index(
            "ix_workflow_executions_unfinished",
            "organization_id",
            "agent_id",
            "concurrency_key",
            postgresql_where=text("completed_at IS NULL"),
        ),
        Index(
            "ix_workflow_executions_at_work",
            "organization_id",
            "agent_id",
            "concurrency_key",
            postgresql_where=text("completed_at IS NULL AND relayed_at IS NOT NULL"),
        ),
        Index(
            "ix_workflow_executions_caller",
            "organization_id",
            "caller",
            postgresql_where=text("caller IS NOT NULL"),
        ),
        Index(
            "ix_workflow_executions_parent",
            "organization_id",
            "parent_execution_id",
            postgresql_where=text("parent_execution_id IS NOT NULL"),
        ),
        Index(
            "ix_workflow_executions_pinned",
            "organization_id",
            "pinned_dag_id",
            postgresql_where=text("pinned_dag_id IS NOT NULL"),
        ),
        {"postgresql_partition_by": "RANGE (id)"},
    )

    organization_id: Mapped[OrganizationKey]
    id: Mapped[NewId]
    agent_id: Mapped[UUID]
    version_id: Mapped[UUID]
    plan_digest: Mapped[str | None]
    status: Mapped[str] = mapped_column(server_default="pending")
    halted: Mapped[bool] = mapped_column(server_default=text("false"))
    epoch: Mapped[int] = mapped_column(server_default=text("0"))
    life: Mapped[int] = mapped_column(server_default=text("0"))
    clear_number: Mapped[int] = mapped_column(server_default=text("0"))
    trigger: Mapped[JsonColumn]
    trigger_type: Mapped[str] = mapped_column(server_default="manual")
    input: Mapped[JsonColumn]
    environment: Mapped[str] = mapped_column(server_default="default")
    vars: Mapped[OptionalJson]
    secret_vars: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    output: Mapped[OptionalJson]
    output_ref: Mapped[OptionalJson]
    error: Mapped[OptionalJson]
    error_code: Mapped[str | None]
    answer: Mapped[OptionalJson]
    timeout_seconds: Mapped[float | None]
    accepted_at: Mapped[CreatedAt]
    started_at: Mapped[Timestamp | None]
    reopened_at: Mapped[Timestamp | None]
    completed_at: Mapped[Timestamp | None]
    relayed_at: Mapped[Timestamp | None]
    cancel_requested_at: Mapped[Timestamp | None]
    concurrency_limit: Mapped[int | None]
    concurrency_key: Mapped[str] = mapped_column(server_default=text("''"))
    depth: Mapped[int] = mapped_column(server_default=text("0"))
    parent_execution_id: Mapped[UUID | None]
    error_of: Mapped[UUID | None]
    caller: Mapped[str | None]
    error_handling: Mapped[OptionalJson]
    watched_until: Mapped[Timestamp | None]
    pinned_dag_id: Mapped[str | None]

    @property
    def awaits_restart(self) -> bool:
        """Whether it is to run again, and its run in Airflow has not begun to."""
        return self.status == "pending" and self.life > 0

    @property
    def was_refused(self) -> bool:
        """Whether it is of an adopted run whose input broke the schema, so that nothing of it ever ran."""
        return self.started_at is None and (self.error or {}).get("code") == "invalid_input"


class AdoptedRun(Base):
    """A run that was started in Airflow, and the execution that was made for it at its first lease."""

    __tablename__ = "adopted_runs"
    __table_args__ = (_of_execution(), UniqueConstraint("organization_id", "execution_id"))

    organization_id: Mapped[OrganizationKey]
    dag_id: Mapped[TextKey]
    run_id: Mapped[TextKey]
    execution_id: Mapped[UUID]
    adopted_at: Mapped[CreatedAt]


class ExecutionStep(Base):
    """The journal: the result of one step in one epoch. ``current`` ends where a later epoch runs the step again.

    An output that is too large is an object; ``output_ref`` has its digest and size then, and ``output`` is null.
    """

    __tablename__ = "execution_steps"
    __table_args__ = (_of_execution(), {"postgresql_partition_by": "RANGE (execution_id)"})

    organization_id: Mapped[OrganizationKey]
    execution_id: Mapped[UUID] = mapped_column(primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    step_id: Mapped[TextKey]
    status: Mapped[str]
    output: Mapped[OptionalJson]
    output_ref: Mapped[OptionalJson]
    error: Mapped[OptionalJson]
    attempts: Mapped[int]
    started_at: Mapped[Timestamp | None]
    ended_at: Mapped[Timestamp | None]
    duration_ms: Mapped[float | None]
    usage: Mapped[JsonColumn]
    answer: Mapped[OptionalJson]
    timing: Mapped[OptionalJson]
    journaled_at: Mapped[CreatedAt]
    current: Mapped[bool] = mapped_column(server_default=text("true"))


class Lease(Base):
    """Who runs a unit. ``token`` grows with every takeover; ``owner`` is null once the lease was given back.

    ``running`` are the steps at work, for people who look; nothing depends on them.
    """

    __tablename__ = "leases"
    __table_args__ = (_of_execution(),)

    organization_id: Mapped[OrganizationKey]
    execution_id: Mapped[UUID] = mapped_column(primary_key=True)
    unit: Mapped[TextKey]
    owner: Mapped[str | None]
    token: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[Timestamp]
    running: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'"))

    @classmethod
    def is_live(cls) -> ColumnElement[bool]:
        """Tell whether somebody holds it, by the database's clock: the only one that all runners share.

        Where that clock was set back a lease may seem to hold for hours. No lease may: such a one counts as expired.
        """
        now = func.clock_timestamp()
        longest = now + timedelta(seconds=LONGEST_LEASE_SECONDS)
        return and_(cls.owner.is_not(None), cls.expires_at > now, cls.expires_at <= longest)


class OutboxEntry(Base):
    """What Airflow has still to hear of an execution: ``start`` its run, ``stop`` it, or ``restart`` it.

    Gone once Airflow did it; ``dead`` ones stay, with the error, since ``buried_at``. ``available_at`` is when a relay
    may take it: a relay that takes one moves it ahead, so that the entry comes back if the relay dies. ``attempts``
    counts how often it was taken. ``created_at`` is when it began to wait, anew when it is delivered again.

    ``called`` (another execution waits for this one) and ``concurrency_key`` are the execution's: entries that were
    never taken are looked for in *lanes* of one workflow, ``called`` and key, by ``ix_outbox_waiting``.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        _of_execution(),
        UniqueConstraint("organization_id", "execution_id", "kind"),
        Index(
            "ix_outbox_waiting",
            "organization_id",
            "agent_id",
            "called",
            "concurrency_key",
            "id",
            postgresql_where=text("NOT dead AND kind <> 'stop' AND attempts = 0"),
        ),
        Index(
            "ix_outbox_returning",
            "available_at",
            postgresql_where=text("NOT dead AND (kind = 'stop' OR attempts > 0)"),
        ),
        Index("ix_outbox_dead", "organization_id", "id", postgresql_where=text("dead")),
    )

    organization_id: Mapped[OrganizationKey]
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    execution_id: Mapped[UUID]
    agent_id: Mapped[UUID]
    dag_id: Mapped[str]
    kind: Mapped[str] = mapped_column(server_default="start")
    called: Mapped[bool] = mapped_column(server_default=text("false"))
    concurrency_key: Mapped[str] = mapped_column(server_default=text("''"))
    refusals: Mapped[int] = mapped_column(server_default=text("0"))
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    error: Mapped[str | None]
    dead: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[CreatedAt]
    available_at: Mapped[CreatedAt]
    buried_at: Mapped[Timestamp | None]


class IdempotencyKey(Base):
    """A key that a caller sent with a start, or a signed message, so that the same request again starts nothing.

    ``answer`` is what the first request was answered, for the ones after it.

    ``scope`` is the door it came through; ``digest`` is of the request. ``execution_id`` is null only within the
    transaction that starts it. It is no foreign key: an organisation may keep its executions for less long than a
    request has to be known.
    """

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index(None, "expires_at"),)

    organization_id: Mapped[OrganizationKey]
    scope: Mapped[TextKey]
    key: Mapped[TextKey]
    digest: Mapped[str]
    execution_id: Mapped[UUID | None]
    answer: Mapped[OptionalJson]
    received_at: Mapped[CreatedAt]
    expires_at: Mapped[Timestamp]
