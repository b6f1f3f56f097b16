"""SQL of executions as callers see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from api.models import ExecutionStep, Lease, OutboxEntry, WorkflowExecution
from api.workflows.repository import PublishedVersion

ENDED = ("success", "failed", "cancelled")


@dataclass(frozen=True)
class Outcome:
    """As much of an execution as its waiting caller needs."""

    status: str
    halted: bool
    output: Any
    error: Any
    answer: Any

    @property
    def ended(self) -> bool:
        """Whether the status is final."""
        return self.status in ENDED


class ExecutionRepository:
    """Executions of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    async def add(self, version: PublishedVersion, *, input: Any, trigger: Any, timeout_seconds: float | None) -> UUID:
        """Store a pending execution; return its id."""
        return (
            await self._session.execute(
                insert(WorkflowExecution)
                .values(
                    organization_id=self._organization_id,
                    agent_id=version.agent_id,
                    version_id=version.version_id,
                    input=input,
                    trigger=trigger,
                    timeout_seconds=timeout_seconds,
                )
                .returning(WorkflowExecution.id)
            )
        ).scalar_one()

    async def add_to_outbox(self, execution_id: UUID, version: PublishedVersion) -> None:
        """Have a relay tell Airflow."""
        await self._session.execute(
            insert(OutboxEntry).values(
                organization_id=self._organization_id,
                execution_id=execution_id,
                agent_id=version.agent_id,
                dag_id=version.dag_id,
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
                    WorkflowExecution.error,
                    WorkflowExecution.answer,
                ).where(
                    WorkflowExecution.organization_id == self._organization_id, WorkflowExecution.id == execution_id
                )
            )
        ).first()
        return Outcome(*row) if row else None

    async def steps(self, execution_id: UUID) -> Sequence[ExecutionStep]:
        """Return the journal of all epochs; of one step the newest epoch comes last."""
        query = (
            select(ExecutionStep)
            .where(ExecutionStep.organization_id == self._organization_id, ExecutionStep.execution_id == execution_id)
            .order_by(ExecutionStep.epoch)
        )
        return (await self._session.scalars(query)).all()

    async def running(self, execution_id: UUID) -> set[str]:
        """Return the steps that live leases say are at work."""
        query = select(Lease.running).where(
            Lease.organization_id == self._organization_id,
            Lease.execution_id == execution_id,
            Lease.owner.is_not(None),
            Lease.expires_at > func.clock_timestamp(),
        )
        return {step_id for steps in await self._session.scalars(query) for step_id in steps}

    async def fail(self, execution_id: UUID, error: dict[str, Any]) -> bool:
        """End an execution that never began; False if it did begin or has ended."""
        failed = await self._session.execute(
            update(WorkflowExecution)
            .where(
                WorkflowExecution.organization_id == self._organization_id,
                WorkflowExecution.id == execution_id,
                WorkflowExecution.status == "pending",
            )
            .values(status="failed", error=error, completed_at=func.clock_timestamp())
            .returning(WorkflowExecution.id)
        )
        return failed.first() is not None
