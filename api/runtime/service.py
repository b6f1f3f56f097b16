"""What runners may do with an execution. Each call is one transaction under the execution's row lock."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession

from api import notifications
from api.adoption.service import AdoptionService
from api.approvals.service import ApprovalService
from api.executions.acceptance import Acceptance
from api.executions.ending import Ending
from api.executions.live.watching import notify_watchers
from api.executions.reopening import Reopening
from api.executions.repository import ENDED, trigger_type
from api.metrics.recording import record_steps
from api.namespaces.service import warm_pods_of
from api.problems import Problem, not_found
from api.runtime.credentials import known_secrets
from api.runtime.grants import grant_of
from api.runtime.repository import FoundExecution, JournalRepository, LeaseRepository, lock_execution
from api.settings import Settings
from api.subscriptions.events import tell
from api.variables.repository import VariableRepository
from api.workflows.plans import PlanCache
from api.workflows.repository import PublishedVersion, WorkflowRepository
from operators.execution.records import (
    DECIDED,
    AnswerReceipt,
    ApprovalAnswer,
    ApprovalRequest,
    ApprovalState,
    ExecutionState,
    Finish,
    Journaling,
    LeaseGrant,
    LeaseRequest,
    Redactions,
    Settling,
    StepRecord,
    WarmPods,
)


class RuntimeService:
    """One locked execution. Made by :meth:`open`."""

    def __init__(self, session: AsyncSession, execution: FoundExecution, settings: Settings, plans: PlanCache) -> None:
        row = execution.row
        self._session = session
        self._execution = execution
        self._row = row
        self._settings = settings
        self._plans = plans
        self._leases = LeaseRepository(session, row.organization_id, row.id)
        self._journal = JournalRepository(session, row.organization_id, row.id)
        self._workflows = WorkflowRepository(session, row.organization_id)

    @classmethod
    async def open(
        cls, session: AsyncSession, execution_id: UUID, settings: Settings, plans: PlanCache
    ) -> RuntimeService:
        """Lock an execution.

        :raises Problem: 404.
        """
        execution = await lock_execution(session, execution_id)
        if execution is None:
            raise not_found("execution", execution_id)
        return cls(session, execution, settings, plans)

    @classmethod
    async def find(
        cls, session: AsyncSession, run_id: str, settings: Settings, plans: PlanCache
    ) -> RuntimeService | None:
        """Lock the execution of a run id that is an execution's id; None for any other."""
        try:
            execution = await lock_execution(session, UUID(run_id))
        except ValueError:
            return None
        return cls(session, execution, settings, plans) if execution else None

    @property
    def organization(self) -> str:
        """The slug of the execution's organisation."""
        return self._execution.organization

    async def warm_pods(self) -> list[WarmPods]:
        """Return the pods that the execution's organisation keeps started."""
        return await warm_pods_of(self._session, self._row.organization_id)

    async def redactions(self) -> Redactions:
        """Return the secrets to mask in what the execution's containers print."""
        return await known_secrets(self._session, self._row.organization_id, self._settings)

    async def lease(self, request: LeaseRequest) -> LeaseGrant:
        """Grant a unit's lease.

        :raises Problem: 404 for an execution of another workflow, 410 for an ended one, 409 where another owner holds
            the lease or another version of the workflow runs.
        """
        if (request.organization, request.workflow_id) != (self._execution.organization, self._execution.workflow_id):
            raise not_found(f"execution of {request.organization}/{request.workflow_id}", self._row.id)
        await self._enter_life(request)
        if self._row.status in ENDED:
            raise self._ended()
        version = await self._pin(request.plan_digest)
        if self._row.status == "pending":
            await self._begin()
        token = await self._leases.take(request.unit, request.owner, self._settings.lease_ttl_seconds)
        if token is None:
            retry_after = await self._leases.seconds_left(request.unit)
            detail = f"Another runner holds the lease of unit {request.unit!r}."
            raise Problem(409, "lease_held", detail, retry_after=retry_after)
        records, now = await self._journal.records(), await self._now()
        return grant_of(self._row, version, records, self._settings, token=token, now=now)

    def _ended(self) -> Problem:
        detail = f"The execution has ended: {self._row.status}."
        return Problem(410, "execution_ended", detail, execution_status=self._row.status)

    async def _enter_life(self, request: LeaseRequest) -> None:
        """Reopen the execution where someone cleared tasks in Airflow.

        :raises Problem: 410 for a task of Airflow's run from before the restart that the execution waits for.
        """
        row = self._row
        if row.awaits_restart:
            if request.clear_number <= row.clear_number:
                detail = "This run of the execution has ended; the execution is about to run again."
                raise Problem(410, "execution_ended", detail, execution_status="failed")
            row.clear_number = request.clear_number
        elif request.clear_number > row.clear_number:
            if row.was_refused:
                await self._begin_anew(request)
            await Reopening(self._session, row.organization_id, self._plans).go_on(row)
            row.clear_number = request.clear_number

    async def _begin_anew(self, request: LeaseRequest) -> None:
        """Look again at the input of an adopted run that was refused: Airflow may run a newer version now.

        :raises Problem: 410, where it is still refused.
        """
        adoption = AdoptionService(self._session, self._row.organization_id, self._settings, self._plans)
        beginning = await adoption.beginning(self._row.agent_id, request)
        if beginning is None or beginning.error is not None:
            raise self._ended()
        self._row.input, self._row.trigger = beginning.input, beginning.trigger
        self._row.trigger_type = trigger_type(beginning.trigger)

    async def _pin(self, plan_digest: str) -> PublishedVersion:
        """Tie the execution to the version that its first lease shows; until a step is journaled it may change."""
        if self._row.plan_digest == plan_digest:
            return await self._workflows.of_execution(self._row)
        if self._row.plan_digest is not None and not await self._journal.is_empty():
            raise Problem(409, "plan_mismatch", "The execution runs on another version of its workflow.")
        version = await self._shown_by(plan_digest)
        if version is None:
            detail = f"No version of workflow {self._execution.workflow_id!r} has the plan {plan_digest[:12]!r}."
            raise Problem(409, "plan_mismatch", detail)
        loaded = await self._plans.load(self._session, self._row.organization_id, version.plan_digest)
        variables = VariableRepository(self._session, self._row.organization_id)
        snapshot = await variables.snapshot(loaded.plan.vars, self._row.environment)
        self._row.vars, self._row.secret_vars = snapshot.values, snapshot.secret
        self._row.plan_digest, self._row.version_id = version.plan_digest, version.version_id
        return version

    async def _shown_by(self, plan_digest: str) -> PublishedVersion | None:
        """Return the version of this plan; of an execution that is pinned to one, no other that is alike."""
        if self._row.pinned_dag_id is None:
            return await self._workflows.by_digest(self._row.agent_id, plan_digest)
        pinned = await self._workflows.of_execution(self._row)
        return pinned if pinned.plan_digest == plan_digest else None

    async def _begin(self) -> None:
        row = self._row
        row.status = "running"
        row.started_at = await self._now()
        await notify_watchers(self._session, row)
        await tell(
            self._session,
            row.organization_id,
            "execution.started",
            f"/api/v1/executions/{row.id}",
            {"execution_id": str(row.id), "workflow_id": self._execution.workflow_id},
            execution_id=row.id,
        )
        if row.relayed_at is None:
            # Begun without a relay, it takes up its place all the same.
            row.relayed_at = row.started_at

    async def _now(self) -> datetime:
        now: datetime | None = await self._session.scalar(func.clock_timestamp())
        assert now is not None
        return now

    async def heartbeat(self, entry: Settling) -> ExecutionState:
        """Extend a lease.

        :raises Problem: 409, where it was taken over or the execution has ended.
        """
        self._refuse_if_ended()
        if not await self._leases.extend(entry.unit, entry.token, self._settings.lease_ttl_seconds):
            raise _stale(entry.unit)
        return await self._state(entry.unit)

    async def journal(self, entry: Journaling) -> ExecutionState:
        """Store results.

        :raises Problem: 409, where the lease was taken over or the execution has ended; nothing is stored then.
        """
        self._refuse_if_ended()
        if not await self._leases.extend(entry.unit, entry.token, self._settings.lease_ttl_seconds, entry.running):
            raise _stale(entry.unit)
        kept = [record for record in entry.steps if record.status in DECIDED or record.started_at is not None]
        await self._journal.write(self._row.epoch, kept, replace=True)
        record_steps(self._session, self._row.id, self._row.epoch, self._row.life, kept)
        await self._answer(kept)
        await notify_watchers(self._session, self._row)
        if entry.halt and not self._row.halted:
            self._row.halted = True
            # Steps that wait hear of it.
            await self._notify()
        return await self._state(entry.unit)

    async def _answer(self, records: list[StepRecord]) -> None:
        """Wake the waiting webhook caller by the first ``respond``."""
        answers = [record.answer for record in records if record.answer and record.status == "success"]
        if answers and self._row.answer is None:
            self._row.answer = answers[0].model_dump()
            await self._notify()

    async def settle(self, entry: Settling) -> ExecutionState:
        """Take a lease back and show the whole journal and who else is at work.

        :raises Problem: 409, where it was taken over.
        """
        if not await self._leases.give_back(entry.unit, entry.token):
            raise _stale(entry.unit)
        state = await self._state(entry.unit)
        state.steps = await self._journal.records()
        return state

    async def finish(self, entry: Finish) -> ExecutionState:
        """End the execution; the first end stands.

        :raises Problem: 409, where the lease was taken over.
        """
        if not await self._leases.is_current(entry.unit, entry.token):
            raise _stale(entry.unit)
        if self._row.status not in ENDED:
            await self._journal.write(self._row.epoch, entry.steps, replace=False)
            await self._ending().finish(self._row, entry)
        return await self._state(entry.unit)

    async def ask_approval(self, step_id: str, request: ApprovalRequest) -> ApprovalState:
        """Ask people for a decision, and answer how it stands.

        :raises Problem: 409, where the execution has ended or is in another epoch.
        """
        self._refuse_if_ended()
        if request.epoch != self._row.epoch:
            raise Problem(409, "stale_lease", f"The execution is in epoch {self._row.epoch}; got {request.epoch}.")
        return await self._approvals().ask(self._row.id, step_id, request)

    async def answer_approval(self, step_id: str, answer: ApprovalAnswer) -> AnswerReceipt:
        """Take an answer that was given in Airflow."""
        row = self._row
        refusal = await self._approvals().answer(row.id, row.epoch, step_id, answer.decision, answer.by)
        return AnswerReceipt(refusal=refusal)

    def _approvals(self) -> ApprovalService:
        return ApprovalService(self._session, self._row.organization_id, self._settings)

    def _ending(self) -> Ending:
        acceptance = Acceptance(self._session, self._row.organization_id, self._settings, self._plans)
        return acceptance.ending()

    def _refuse_if_ended(self) -> None:
        if self._row.status in ENDED:
            raise Problem(409, "stale_lease", f"The execution has ended: {self._row.status}.")

    async def _state(self, unit: str) -> ExecutionState:
        active = await self._leases.active_units(besides=unit)
        return ExecutionState.model_validate(
            {
                "status": self._row.status,
                "halted": self._row.halted,
                "cancelled": self._row.cancel_requested_at is not None,
                "active_units": active,
            }
        )

    async def _notify(self) -> None:
        await notifications.notify(self._session, notifications.EXECUTIONS, str(self._row.id))


def _stale(unit: str) -> Problem:
    return Problem(409, "stale_lease", f"The lease of unit {unit!r} was taken over by another runner.")
