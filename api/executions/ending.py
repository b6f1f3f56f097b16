"""The end of executions, and what follows from it: waiting callers wake, children are cancelled, the next in the queue
gets its place, Airflow's run is stopped, the error workflow starts. All in the transaction of the end."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api import notifications
from api.deliveries.callbacks import release_callbacks
from api.executions.repository import ENDED, ExecutionRepository, Origin
from api.metrics.recording import record_end
from api.models import WorkflowExecution
from api.namespaces.preparing import has_pods
from api.objects.service import OutputService
from api.problems import Problem
from api.releases.contents import ArtifactLostProblem
from api.runtime.grants import grant_of
from api.runtime.repository import JournalRepository
from api.settings import Settings
from api.subscriptions.events import tell
from api.workflows.plans import PlanCache
from api.workflows.repository import PublishedVersion, WorkflowRepository
from compiler.plan import Plan
from operators.execution.calls import CALL_TRIGGER
from operators.execution.ending import CANCELLED, ending
from operators.execution.flow import Flow
from operators.execution.records import FinalStatus, Finish, StepError, StepRecord
from operators.execution.scope import scope_of

if TYPE_CHECKING:
    from api.executions.acceptance import Acceptance

log = logging.getLogger(__name__)

GRACE_SECONDS = 1.0


class Ending:
    """Ends executions of one organisation; their rows must be locked.

    :param acceptance: Starts error workflows.
    """

    def __init__(
        self,
        session: AsyncSession,
        organization_id: UUID,
        settings: Settings,
        plans: PlanCache,
        acceptance: Acceptance,
    ) -> None:
        self._session = session
        self._organization_id = organization_id
        self._settings = settings
        self._plans = plans
        self._acceptance = acceptance
        self._executions = ExecutionRepository(session, organization_id)
        self._workflows = WorkflowRepository(session, organization_id)

    async def end(
        self,
        row: WorkflowExecution,
        status: FinalStatus,
        *,
        output: Any = None,
        output_ref: dict[str, Any] | None = None,
        error: dict[str, Any] | None = None,
        has_run: bool = True,
    ) -> None:
        """End an execution that has not ended.

        :param has_run: Whether Airflow may have a run of it, which is stopped if it ends as cancelled. What is left of
            its pods is removed however it ends: a step that waits for its pod has no worker that could.
        """
        row.status, row.output, row.output_ref, row.error = status, output, output_ref, error
        row.error_code = error["code"] if error else None
        row.completed_at = await self._executions.now()
        record_end(self._session, status)
        await notifications.notify(self._session, notifications.EXECUTIONS, str(row.id))
        is_to_stop = has_run and (status == "cancelled" or await self._may_have_pods(row))
        if is_to_stop:
            await self._executions.stop_run(row.id, await self._version(row))
        await self._cancel_children(row)
        if is_to_stop or row.concurrency_limit is not None:
            # A relay has a run to stop or pods to remove, or one that waits for its place may have it now.
            await notifications.notify(self._session, notifications.OUTBOX)
        if status == "failed":
            await self._start_error_workflow(row)
        await self._tell(row)

    async def finish(self, row: WorkflowExecution, finish: Finish) -> None:
        """End an execution as its last runner says."""
        error = finish.error.model_dump() if finish.error else None
        stored = finish.output_ref.model_dump() if finish.output_ref else None
        await self.end(row, finish.status, output=finish.output, output_ref=stored, error=error)

    async def _tell(self, row: WorkflowExecution) -> None:
        """Tell subscribers that it ended, and who is called back what came of it; why it failed is for neither."""
        version = await self._version(row)
        data = {
            "execution_id": str(row.id),
            "workflow_id": version.workflow_id,
            "version": version.number,
            "status": row.status,
        }
        subject = f"/api/v1/executions/{row.id}"
        await tell(self._session, self._organization_id, "execution.finished", subject, data, execution_id=row.id)
        result = {**data, "output": row.output, "answer": row.answer}
        if row.output_ref is not None:
            result["output_ref"] = {**row.output_ref, "url": f"{self._settings.public_url}{subject}/output"}
        await release_callbacks(self._session, self._organization_id, row.id, result)

    async def cancel(self, row: WorkflowExecution) -> None:
        """Cancel an execution: at once where no runner is at work, else the runners are told with their next call.

        Where they do not come back, a relay ends it once their leases have run out. An ended execution stays as it is.
        """
        if row.status in ENDED:
            return
        if row.cancel_requested_at is None:
            row.cancel_requested_at = await self._executions.now()
        row.halted = True
        attempts = await self._executions.withdraw(row.id)
        version = await self._version(row)
        if await self._executions.is_at_work(row.id):
            await self._executions.stop_run(row.id, version, self._settings.lease_ttl_seconds + GRACE_SECONDS)
            await self._cancel_children(row)
            return
        await self._mark_steps(row, version)
        await self.end(row, "cancelled", error=CANCELLED.model_dump(), has_run=attempts != 0)

    async def conclude(self, row: WorkflowExecution, broken_off: StepError) -> None:
        """End an execution that nobody runs any more, as the last runner would have: by its journal, else because its
        time is over, else because of what broke it off. An ended execution stays as it is.

        :param broken_off: Why nobody runs it any more.
        """
        if row.status in ENDED or row.cancel_requested_at is not None:
            await self.cancel(row)
            return
        version = await self._version(row)
        try:
            flow = Flow(await self._plan(version))
        except ArtifactLostProblem as problem:
            await self._executions.withdraw(row.id)
            await self.end(row, "failed", error=StepError(code=problem.code, message=problem.detail).model_dump())
            return
        journal = JournalRepository(self._session, self._organization_id, row.id)
        records = await journal.records()
        outputs = OutputService(self._session, self._organization_id, self._settings)
        lost = await outputs.fill_for_end(records, flow)
        scope = scope_of(flow.plan, grant_of(row, version, records, self._settings))
        timed_out = await self._is_out_of_time(row)
        finish = ending(flow, records, scope, timed_out=timed_out, broken_off=broken_off)
        finish = await outputs.keep_of_end(row.id, finish, lost)
        await journal.write(row.epoch, finish.steps, replace=False)
        await self._executions.withdraw(row.id)
        await self.finish(row, finish)

    async def _is_out_of_time(self, row: WorkflowExecution) -> bool:
        if row.timeout_seconds is None:
            return False
        since = row.reopened_at or row.accepted_at
        return (await self._executions.now() - since).total_seconds() >= row.timeout_seconds

    async def _may_have_pods(self, row: WorkflowExecution) -> bool:
        if not self._settings.keeps_namespaces:
            return False
        try:
            return has_pods(await self._plan(await self._version(row)))
        except ArtifactLostProblem:
            return True

    async def _mark_steps(self, row: WorkflowExecution, version: PublishedVersion) -> None:
        """Journal what becomes of the steps nobody runs any more."""
        try:
            plan = await self._plan(version)
        except ArtifactLostProblem:
            return
        journal = JournalRepository(self._session, self._organization_id, row.id)
        fate = Flow(plan).aftermath(await journal.records())
        records = [StepRecord(id=step_id, status=status) for step_id, status in fate.items()]
        await journal.write(row.epoch, records, replace=False)

    async def _cancel_children(self, row: WorkflowExecution) -> None:
        for child_id in await self._executions.unfinished_children(row.id):
            child = await self._executions.lock(child_id)
            if child is not None:
                await self.cancel(child)

    async def _start_error_workflow(self, row: WorkflowExecution) -> None:
        """Start the workflow's ``error_workflow``; what is in the way is noted and is no error of this execution."""
        version = await self._version(row)
        try:
            plan = await self._plan(version)
        except ArtifactLostProblem:
            return
        # An error workflow that fails starts none: two of them could go on for ever.
        if plan.error_workflow is None or row.error_of is not None:
            return
        journal = JournalRepository(self._session, self._organization_id, row.id)
        failed = [
            {"id": record.id, "error": record.error.model_dump() if record.error else None}
            for record in Flow(plan).unhandled(await journal.records())
        ]
        value = {
            "execution_id": str(row.id),
            "workflow_id": version.workflow_id,
            "version": version.number,
            "error": row.error,
            "failed_steps": failed,
            "input": row.input,
        }
        origin = Origin(depth=row.depth + 1, error_of=row.id, environment=row.environment)
        handling: dict[str, Any] = {"workflow_id": plan.error_workflow, "execution_id": None, "problem": None}
        try:
            accepted = await self._acceptance.accept(
                plan.error_workflow, input=value, trigger=CALL_TRIGGER, origin=origin
            )
            handling["execution_id"] = str(accepted.execution_id)
        except Problem as problem:
            log.warning("execution %s: its error workflow was not started (%s)", row.id, problem.code)
            handling["problem"] = {"code": problem.code, "message": problem.detail}
        row.error_handling = handling

    async def _version(self, row: WorkflowExecution) -> PublishedVersion:
        return await self._workflows.of_execution(row)

    async def _plan(self, version: PublishedVersion) -> Plan:
        return (await self._plans.load(self._session, self._organization_id, version.plan_digest)).plan
