"""SQL of executions as callers see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import BindParameter, Table, bindparam, delete, func, literal, select, true
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from api import notifications
from api.models import Agent, ExecutionStep, Lease, OutboxEntry, WorkflowExecution
from api.variables.schemas import DEFAULT_ENVIRONMENT
from api.workflows.repository import PublishedVersion

ENDED = ("success", "failed", "cancelled")
NOT_SCHEDULED = "not_scheduled"
"""Error of an execution that could not be started in Airflow."""
STARTING = ("start", "restart")
"""Kinds of outbox entries after which an execution is at work."""


@dataclass(frozen=True)
class Outcome:
    """As much of an execution as its waiting caller needs."""

    status: str
    halted: bool
    output: Any
    output_ref: Any
    error: Any
    answer: Any

    @property
    def ended(self) -> bool:
        """Whether the status is final."""
        return self.status in ENDED


@dataclass(frozen=True)
class Origin:
    """Where an execution comes from, as far as other executions are concerned.

    :param depth: How many executions in a row started one another up to this one.
    :param parent: The execution that waits for it and takes it along when it ends.
    :param error_of: The failed execution that it is started for.
    :param caller: Names the attempt of the step that starts it, and starts nothing else.
    :param environment: Whose variables it reads.
    """

    depth: int = 0
    parent: UUID | None = None
    error_of: UUID | None = None
    caller: str | None = None
    environment: str = DEFAULT_ENVIRONMENT


FRESH = Origin()
"""Of an execution that no other one started."""


@dataclass(frozen=True)
class Unfinished:
    """An execution that has not ended and is not being cancelled."""

    id: UUID
    status: str
    version_id: UUID


def trigger_type(trigger: Any) -> str:
    """Return the kind of a ``trigger``, to search by."""
    return str(trigger.get("type", "manual")) if isinstance(trigger, dict) else "manual"


def _bound(table: Table, *names: str) -> dict[str, BindParameter[Any]]:
    """Return columns with a parameter for each, of its type."""
    return {name: bindparam(f"new_{name}", type_=table.c[name].type) for name in names}


# Accepting makes these for each request: put together once, for that takes longer than running them.
_executions, _outbox = cast(Table, WorkflowExecution.__table__), cast(Table, OutboxEntry.__table__)
_ADD = (
    insert(_executions)
    .values(
        organization_id=bindparam("new_organization_id"),
        **_bound(
            _executions, "agent_id", "version_id", "input", "trigger", "trigger_type", "environment",
            "timeout_seconds", "concurrency_limit", "concurrency_key", "depth", "parent_execution_id", "error_of",
            "caller", "pinned_dag_id",
        ),
    )
    .returning(_executions.c.id)
)  # fmt: skip
_new = _ADD.cte("new_execution")
_ordered = {"execution_id": _new.c.id} | _bound(
    _outbox, "organization_id", "agent_id", "dag_id", "called", "concurrency_key"
)
# In one statement, for each way to the database costs as much as what is done there.
_ADD_ORDERED = select(_new.c.id, func.pg_notify(notifications.OUTBOX, "")).add_cte(
    insert(_outbox).from_select([*_ordered], select(*_ordered.values())).cte("new_order")
)


class ExecutionRepository:
    """Executions of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    async def add(
        self,
        version: PublishedVersion,
        *,
        input: Any,
        trigger: Any,
        timeout_seconds: float | None,
        limit: int | None = None,
        key: str = "",
        origin: Origin = FRESH,
        ordered: bool = False,
    ) -> UUID:
        """Store a pending execution; return its id.

        :param limit: How many of its workflow and ``key`` may be at work at a time.
        :param ordered: Whether a relay is to tell Airflow, once the transaction commits.
        """
        values = {
            "new_organization_id": self._organization_id,
            "new_agent_id": version.agent_id,
            "new_version_id": version.version_id,
            "new_input": input,
            "new_trigger": trigger,
            "new_trigger_type": trigger_type(trigger),
            "new_environment": origin.environment,
            "new_timeout_seconds": timeout_seconds,
            "new_concurrency_limit": limit,
            "new_concurrency_key": key,
            "new_depth": origin.depth,
            "new_parent_execution_id": origin.parent,
            "new_error_of": origin.error_of,
            "new_caller": origin.caller,
            "new_pinned_dag_id": version.dag_id if version.is_pinned else None,
        }
        if ordered:
            values |= {"new_dag_id": version.dag_id, "new_called": origin.parent is not None}
        execution_id: UUID = (await self._session.execute(_ADD_ORDERED if ordered else _ADD, values)).scalar_one()
        return execution_id

    async def add_to_outbox(
        self,
        execution_id: UUID,
        version: PublishedVersion,
        *,
        key: str = "",
        called: bool = False,
        kind: str = "start",
    ) -> None:
        """Have a relay tell Airflow.

        :param key: The execution's ``concurrency_key``.
        :param called: Whether another execution waits for it.
        """
        await self._session.execute(
            insert(OutboxEntry).values(
                organization_id=self._organization_id,
                execution_id=execution_id,
                agent_id=version.agent_id,
                dag_id=version.dag_id,
                called=called,
                concurrency_key=key,
                kind=kind,
            )
        )

    async def get(self, execution_id: UUID) -> WorkflowExecution | None:
        """Return an execution."""
        return await self._session.scalar(
            select(WorkflowExecution).where(
                WorkflowExecution.organization_id == self._organization_id, WorkflowExecution.id == execution_id
            )
        )

    async def outcome(self, execution_id: UUID) -> Outcome | None:
        """Return how an execution stands."""
        row = (
            await self._session.execute(
                select(
                    WorkflowExecution.status,
                    WorkflowExecution.halted,
                    WorkflowExecution.output,
                    WorkflowExecution.output_ref,
                    WorkflowExecution.error,
                    WorkflowExecution.answer,
                ).where(
                    WorkflowExecution.organization_id == self._organization_id, WorkflowExecution.id == execution_id
                )
            )
        ).first()
        return Outcome(*row) if row else None

    async def have_ended(self, execution_ids: Sequence[UUID]) -> dict[UUID, bool]:
        """Tell of each of some executions whether it has ended; ids of none are left out."""
        query = select(WorkflowExecution.id, WorkflowExecution.status.in_(ENDED)).where(
            WorkflowExecution.organization_id == self._organization_id, WorkflowExecution.id.in_(execution_ids)
        )
        return dict((await self._session.execute(query)).all()) if execution_ids else {}

    async def step(self, execution_id: UUID, step_id: str) -> ExecutionStep | None:
        """Return what counts now of a step, of whatever epoch."""
        query = select(ExecutionStep).where(
            ExecutionStep.organization_id == self._organization_id,
            ExecutionStep.execution_id == execution_id,
            ExecutionStep.step_id == step_id,
            ExecutionStep.current == true(),
        )
        return await self._session.scalar(query.order_by(ExecutionStep.epoch.desc()).limit(1))

    async def steps(self, execution_id: UUID) -> Sequence[ExecutionStep]:
        """Return the journal: what counts now, of whatever epoch."""
        query = select(ExecutionStep).where(
            ExecutionStep.organization_id == self._organization_id,
            ExecutionStep.execution_id == execution_id,
            ExecutionStep.current == true(),
        )
        return (await self._session.scalars(query)).all()

    async def running(self, execution_id: UUID) -> set[str]:
        """Return the steps that live leases say are at work."""
        query = select(Lease.running).where(
            Lease.organization_id == self._organization_id,
            Lease.execution_id == execution_id,
            Lease.is_live(),
        )
        return {step_id for steps in await self._session.scalars(query) for step_id in steps}

    async def lock(self, execution_id: UUID) -> WorkflowExecution | None:
        """Return an execution whose row is locked until the transaction ends."""
        return await self._session.scalar(
            select(WorkflowExecution)
            .where(WorkflowExecution.organization_id == self._organization_id, WorkflowExecution.id == execution_id)
            .with_for_update()
            .execution_options(populate_existing=True)
        )

    async def now(self) -> datetime:
        """Return the database's time, the only one that all processes share."""
        now: datetime = (await self._session.execute(select(func.clock_timestamp()))).scalar_one()
        return now

    async def lock_group(self, agent_id: UUID, key: str) -> None:
        """Let one acceptance at a time look at the executions of a workflow and key."""
        name = f"{self._organization_id}:{agent_id}:{key}"
        await self._session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))

    async def unfinished(self, agent_id: UUID, key: str) -> list[Unfinished]:
        """Return the unfinished executions of a workflow and key, the oldest first, but not those being cancelled."""
        rows = await self._session.execute(
            select(WorkflowExecution.id, WorkflowExecution.status, WorkflowExecution.version_id)
            .where(
                WorkflowExecution.organization_id == self._organization_id,
                WorkflowExecution.agent_id == agent_id,
                WorkflowExecution.concurrency_key == key,
                WorkflowExecution.completed_at.is_(None),
                WorkflowExecution.cancel_requested_at.is_(None),
            )
            .order_by(WorkflowExecution.accepted_at, WorkflowExecution.id)
        )
        return [Unfinished(*row) for row in rows]

    async def lock_caller(self, caller: str) -> None:
        """Let one start at a time of a step's child through."""
        name = f"{self._organization_id}:{caller}"
        await self._session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 1))))

    async def of_caller(self, caller: str) -> WorkflowExecution | None:
        """Return the execution that an attempt of a step started."""
        return await self._session.scalar(
            select(WorkflowExecution).where(
                WorkflowExecution.organization_id == self._organization_id, WorkflowExecution.caller == caller
            )
        )

    async def callers(self, execution_id: UUID) -> list[str]:
        """Return the ids of the workflows whose steps wait for one another down to an execution's, the first first."""
        execution, organization = WorkflowExecution, self._organization_id
        chain = (
            select(execution.parent_execution_id, execution.agent_id, literal(0).label("above"))
            .where(execution.organization_id == organization, execution.id == execution_id)
            .cte("chain", recursive=True)
        )
        above = select(execution.parent_execution_id, execution.agent_id, chain.c.above + 1).where(
            execution.organization_id == organization, execution.id == chain.c.parent_execution_id
        )
        chain = chain.union_all(above)
        query = (
            select(Agent.workflow_id)
            .join(chain, (Agent.id == chain.c.agent_id) & (Agent.organization_id == organization))
            .order_by(chain.c.above.desc())
        )
        return list(await self._session.scalars(query))

    async def unfinished_children(self, execution_id: UUID) -> list[UUID]:
        """Return the unfinished executions that an execution waits for."""
        return list(
            await self._session.scalars(
                select(WorkflowExecution.id)
                .where(
                    WorkflowExecution.organization_id == self._organization_id,
                    WorkflowExecution.parent_execution_id == execution_id,
                    WorkflowExecution.completed_at.is_(None),
                )
                .order_by(WorkflowExecution.id)
            )
        )

    async def is_at_work(self, execution_id: UUID) -> bool:
        """Tell whether a runner holds a live lease on a unit of an execution."""
        query = select(Lease.unit).where(
            Lease.organization_id == self._organization_id,
            Lease.execution_id == execution_id,
            Lease.is_live(),
        )
        return await self._session.scalar(query.limit(1)) is not None

    async def withdraw(self, execution_id: UUID) -> int | None:
        """Take the order to start an execution, or to start it again, back; return how often a relay tried, None if
        there is no order."""
        return await self._session.scalar(
            delete(OutboxEntry)
            .where(
                OutboxEntry.organization_id == self._organization_id,
                OutboxEntry.execution_id == execution_id,
                OutboxEntry.kind.in_(STARTING),
                OutboxEntry.dead.is_(False),
            )
            .returning(OutboxEntry.attempts)
        )

    async def restart_run(self, execution_id: UUID, version: PublishedVersion, key: str) -> None:
        """Have a relay start the run in Airflow again.

        It is a new entry in any case: a relay that still is at an older one deletes that one only.

        :param key: The execution's ``concurrency_key``.
        """
        await self._session.execute(
            delete(OutboxEntry).where(
                OutboxEntry.organization_id == self._organization_id,
                OutboxEntry.execution_id == execution_id,
                OutboxEntry.kind == "restart",
            )
        )
        await self.add_to_outbox(execution_id, version, key=key, kind="restart")

    async def stop_run(self, execution_id: UUID, version: PublishedVersion, seconds: float = 0.0) -> None:
        """Have a relay stop the run in Airflow, in so many seconds."""
        due = func.clock_timestamp() + timedelta(seconds=seconds)
        order = insert(OutboxEntry).values(
            organization_id=self._organization_id,
            execution_id=execution_id,
            agent_id=version.agent_id,
            dag_id=version.dag_id,
            kind="stop",
            available_at=due,
        )
        await self._session.execute(
            order.on_conflict_do_update(
                index_elements=["organization_id", "execution_id", "kind"],
                set_={"available_at": due, "dead": False, "buried_at": None},
            )
        )
