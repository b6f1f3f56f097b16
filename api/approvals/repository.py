"""SQL of approvals.

Who was first, and whether a time-out has passed, is judged here: by the row's lock and by the database's clock, the
only one that all callers share.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, case, exists, func, literal, or_, select, true, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from api.executions.repository import ENDED
from api.models import Agent, Approval, ExecutionStep, WorkflowExecution
from operators.execution.records import DECIDED, ApprovalRequest

Status = Literal["pending", "decided", "withdrawn"]
Via = Literal["api", "cli", "airflow", "timeout"]

TIMEOUT = "timeout"
"""Who has decided where the time was over."""

_now = func.clock_timestamp


def _is_awaited() -> ColumnElement[bool]:
    """Whether the step still waits: the execution goes on, and the journal has no result of it."""
    goes_on = (
        exists()
        .where(
            WorkflowExecution.organization_id == Approval.organization_id,
            WorkflowExecution.id == Approval.execution_id,
            WorkflowExecution.status.not_in(ENDED),
            WorkflowExecution.halted.is_(False),
        )
        .correlate(Approval)
    )
    has_result = (
        exists()
        .where(
            ExecutionStep.organization_id == Approval.organization_id,
            ExecutionStep.execution_id == Approval.execution_id,
            ExecutionStep.epoch == Approval.epoch,
            ExecutionStep.step_id == Approval.step_id,
            ExecutionStep.status.in_(DECIDED),
        )
        .correlate(Approval)
    )
    return and_(Approval.current == true(), goes_on, ~has_result)


def _is_open() -> ColumnElement[bool]:
    return and_(Approval.decision.is_(None), _is_awaited())


@dataclass(frozen=True)
class FoundApproval:
    """An approval, the workflow it belongs to, and how it stands.

    :param seconds_left: Until its time-out; None without one.
    """

    row: Approval
    workflow_id: str
    status: Status
    seconds_left: float | None


class ApprovalRepository:
    """Approvals of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    def _mine(self, *conditions: ColumnElement[bool]) -> tuple[ColumnElement[bool], ...]:
        return (Approval.organization_id == self._organization_id, *conditions)

    async def ask(self, execution_id: UUID, step_id: str, request: ApprovalRequest) -> UUID:
        """Store a question unless it is asked already; return its id."""
        due = None if request.timeout_seconds is None else _now() + timedelta(seconds=request.timeout_seconds)
        await self._session.execute(
            insert(Approval)
            .values(
                organization_id=self._organization_id,
                execution_id=execution_id,
                epoch=request.epoch,
                step_id=step_id,
                title=request.title,
                body=request.body,
                assignees=request.assignees,
                due_at=due,
                on_timeout=request.on_timeout,
            )
            .on_conflict_do_nothing()
        )
        found = await self.current(execution_id, request.epoch, step_id)
        assert found is not None, "it was just stored, or was there before"
        return found

    async def current(self, execution_id: UUID, epoch: int, step_id: str) -> UUID | None:
        """Return the id of a step's approval."""
        return await self._session.scalar(
            select(Approval.id).where(
                *self._mine(
                    Approval.execution_id == execution_id,
                    Approval.epoch == epoch,
                    Approval.step_id == step_id,
                    Approval.current == true(),
                )
            )
        )

    async def of_steps(self, execution_id: UUID) -> dict[str, UUID]:
        """Return the ids of an execution's approvals by step; the newest of each."""
        query = (
            select(Approval.step_id, Approval.id)
            .where(*self._mine(Approval.execution_id == execution_id, Approval.current == true()))
            .order_by(Approval.epoch)
        )
        return {row.step_id: row.id for row in await self._session.execute(query)}

    async def settle_overdue(self, approval_id: UUID | None = None) -> list[UUID]:
        """Let the policies decide what nobody decided in time: this one approval, or all; return which.

        Rows that another call is deciding are left to it.
        """
        one = () if approval_id is None else (Approval.id == approval_id,)
        overdue = (
            select(Approval.id)
            .where(*self._mine(*one), _is_open(), Approval.due_at <= _now())
            .with_for_update(skip_locked=True, of=Approval)
            .correlate(None)
        )
        settled = await self._session.scalars(
            update(Approval)
            .where(*self._mine(Approval.id.in_(overdue)))
            .values(
                decision=Approval.on_timeout,
                decided_by=literal(TIMEOUT, Approval.decided_by.type),
                decided_at=Approval.due_at,
                via=TIMEOUT,
            )
            .returning(Approval.id)
            .execution_options(synchronize_session=False)
        )
        return list(settled)

    async def decide(self, approval_id: UUID, *, decision: str, comment: str | None, by: str, via: Via) -> bool:
        """Take an answer; False if it does not count: decided, overdue, or nobody waits for it."""
        taken = await self._session.execute(
            update(Approval)
            .where(
                *self._mine(Approval.id == approval_id),
                _is_open(),
                or_(Approval.due_at.is_(None), Approval.due_at > _now()),
            )
            .values(decision=decision, comment=comment, decided_by=by, decided_at=_now(), via=via)
            .returning(Approval.id)
            .execution_options(synchronize_session=False)
        )
        return taken.first() is not None

    async def supersede(self, execution_id: UUID, step_ids: Iterable[str]) -> None:
        """Make the approvals of steps history: they are run again, and asked anew."""
        await self._session.execute(
            update(Approval)
            .where(*self._mine(Approval.execution_id == execution_id, Approval.step_id.in_(step_ids)))
            .values(current=False)
            .execution_options(synchronize_session=False)
        )

    async def find(self, approval_id: UUID) -> FoundApproval | None:
        """Return an approval."""
        row = (await self._session.execute(self._query(Approval.id == approval_id))).first()
        return _found(row) if row else None

    async def page(
        self,
        *,
        status: Status | None,
        execution_id: UUID | None,
        step_id: str | None,
        before: UUID | None,
        limit: int,
        workflow_id: str | None = None,
    ) -> list[FoundApproval]:
        """Return approvals, the newest first."""
        wanted = [
            None if status is None else _status() == status,
            None if execution_id is None else Approval.execution_id == execution_id,
            None if step_id is None else Approval.step_id == step_id,
            None if workflow_id is None else Agent.workflow_id == workflow_id,
            None if before is None else Approval.id < before,
        ]
        if status == "pending":
            # Said again in the index's words.
            wanted.append(and_(Approval.current == true(), Approval.decision.is_(None)))
        query = self._query(*[condition for condition in wanted if condition is not None])
        rows: Sequence[Any] = (await self._session.execute(query.order_by(Approval.id.desc()).limit(limit))).all()
        return [_found(row) for row in rows]

    def _query(self, *conditions: ColumnElement[bool]) -> Select[Approval, str, str, int]:
        left = func.extract("epoch", Approval.due_at - _now())
        return (
            select(Approval, Agent.workflow_id, _status(), left)
            .join(
                WorkflowExecution,
                and_(
                    WorkflowExecution.organization_id == Approval.organization_id,
                    WorkflowExecution.id == Approval.execution_id,
                ),
            )
            .join(
                Agent,
                and_(Agent.organization_id == Approval.organization_id, Agent.id == WorkflowExecution.agent_id),
            )
            .where(*self._mine(*conditions))
            # What an UPDATE of this transaction changed is not in the session's memory.
            .execution_options(populate_existing=True)
        )


def _status() -> ColumnElement[str]:
    return case((Approval.decision.is_not(None), "decided"), (_is_awaited(), "pending"), else_="withdrawn")


def _found(row: Any) -> FoundApproval:
    approval, workflow_id, status, left = row
    return FoundApproval(approval, workflow_id, status, None if left is None else max(0.0, float(left)))
