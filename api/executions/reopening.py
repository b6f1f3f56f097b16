"""Executions that run again: what stays of their journal, and what of them begins anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api.approvals.repository import ApprovalRepository
from api.executions.live.watching import notify_watchers
from api.executions.repository import ExecutionRepository
from api.models import WorkflowExecution
from api.runtime.repository import JournalRepository, LeaseRepository
from api.variables.repository import VariableRepository
from api.workflows.plans import PlanCache
from api.workflows.repository import WorkflowRepository
from compiler.plan import Plan
from operators.execution.flow import Flow
from operators.execution.records import StepRecord


class Reopening:
    """Reopens executions of one organisation; their rows must be locked.

    A reopened execution is pending again. What runners of its former life still send is stale.
    """

    def __init__(self, session: AsyncSession, organization_id: UUID, plans: PlanCache) -> None:
        self._session = session
        self._organization_id = organization_id
        self._plans = plans
        self._executions = ExecutionRepository(session, organization_id)

    async def go_on(self, row: WorkflowExecution) -> None:
        """Have failed steps and what follows them run again, in the same epoch: their idempotency keys stay equal."""
        journal = self._journal(row)
        records = await journal.records()
        kept = Flow(await self.plan(row)).kept(records)
        await journal.remove(records.keys() - kept.keys())
        await self._renew(row, records, kept)

    async def begin_epoch(self, row: WorkflowExecution, step_ids: Iterable[str]) -> None:
        """Have steps and what follows them run again in a new epoch, whatever came of them before.

        Variables are read anew: what runs again is meant to be done anew.
        """
        plan = await self.plan(row)
        journal = self._journal(row)
        records = await journal.records()
        kept = Flow(plan).kept_besides(records, step_ids)
        await journal.retire(records.keys() - kept.keys())
        row.epoch += 1
        variables = VariableRepository(self._session, self._organization_id)
        snapshot = await variables.snapshot(plan.vars, row.environment)
        row.vars, row.secret_vars = snapshot.values, snapshot.secret
        await self._renew(row, records, kept)

    async def plan(self, row: WorkflowExecution) -> Plan:
        """Return the plan of the version that the execution runs."""
        version = await WorkflowRepository(self._session, self._organization_id).of_execution(row)
        return (await self._plans.load(self._session, self._organization_id, version.plan_digest)).plan

    def _journal(self, row: WorkflowExecution) -> JournalRepository:
        return JournalRepository(self._session, self._organization_id, row.id)

    async def _renew(
        self, row: WorkflowExecution, records: Mapping[str, StepRecord], kept: Mapping[str, StepRecord]
    ) -> None:
        approvals = ApprovalRepository(self._session, self._organization_id)
        await approvals.supersede(row.id, records.keys() - kept.keys())
        await LeaseRepository(self._session, self._organization_id, row.id).revoke_all()
        row.life += 1
        await notify_watchers(self._session, row)
        row.reopened_at = await self._executions.now()
        row.status, row.halted = "pending", False
        row.answer = next((record.answer.model_dump() for record in kept.values() if record.answer), None)
        row.output = row.output_ref = row.error = row.error_code = row.error_handling = None
        row.started_at = row.completed_at = row.cancel_requested_at = None
