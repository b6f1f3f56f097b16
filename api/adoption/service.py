"""Adoption: a run of Airflow that is no execution of ours gets one at its first lease."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api.adoption.repository import AdoptedRunRepository
from api.database import narrow
from api.executions.acceptance import Acceptance
from api.executions.repository import ExecutionRepository
from api.inputs.repository import InputRepository
from api.organizations.repository import OrganizationRepository
from api.pauses.repository import PauseRepository
from api.problems import Problem, not_found
from api.runtime.repository import JournalRepository
from api.settings import Settings
from api.workflows.plans import LoadedPlan, PlanCache
from api.workflows.repository import PublishedVersion, WorkflowRepository
from compiler.crons import last_due
from compiler.pins import pinned_dag_id, pinned_number
from compiler.plan import Plan
from operators.execution.local import MANUAL_TRIGGER
from operators.execution.records import LeaseRequest, RunStart, StepRecord

MAX_RUN_ID = 250
"""Longest run id that Airflow can hold."""


@dataclass(frozen=True)
class Beginning:
    """What an adopted run begins with; ``error`` is why it cannot."""

    input: Any
    trigger: Any
    error: dict[str, str] | None = None


async def adopt(
    session: AsyncSession, run_id: str, request: LeaseRequest, settings: Settings, plans: PlanCache
) -> UUID:
    """Return the execution of a run that was started in Airflow; make it at the first call. The session, of every
    organisation, sees the run's from here on.

    Where the input breaks the schema the new execution has failed already. Commit before the lease is asked for: that
    is then refused, and must not undo this.

    :raises Problem: 404 where the organisation or the workflow is not there; 409 where the plan was never published,
        where the clock started a run of a paused workflow, or where a later unit asks. Nothing is stored then.
    """
    organization_id = await OrganizationRepository(session).find(request.organization)
    if request.run is None or organization_id is None or not (run_id.isprintable() and len(run_id) <= MAX_RUN_ID):
        raise not_found("execution", run_id[:MAX_RUN_ID])
    await narrow(session, organization_id)
    return await AdoptionService(session, organization_id, settings, plans).adopt(run_id, request, request.run)


class AdoptionService:
    """Adopted runs of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID, settings: Settings, plans: PlanCache) -> None:
        self._acceptance = Acceptance(session, organization_id, settings, plans)
        self._session = session
        self._organization_id = organization_id
        self._plans = plans
        self._runs = AdoptedRunRepository(session, organization_id)
        self._executions = ExecutionRepository(session, organization_id)
        self._workflows = WorkflowRepository(session, organization_id)
        self._pauses = PauseRepository(session, organization_id)

    async def execution_of(self, workflow_id: str, run_id: str) -> UUID:
        """Return the execution of a run.

        :raises Problem: 404, also before the run's first lease.
        """
        current = await self._workflows.current(workflow_id)
        found = await self._runs.find(current.dag_id, run_id) if current else None
        if found is None:
            raise not_found(f"run of workflow {workflow_id!r}", run_id)
        return found

    async def adopt(self, run_id: str, request: LeaseRequest, run: RunStart) -> UUID:
        """Return the execution of a run; make it if there is none. See :func:`adopt`."""
        current = await self._workflows.current(request.workflow_id)
        if current is None:
            raise not_found("published workflow", request.workflow_id)
        # A run that somebody starts by hand may be of the DAG of a pinned version.
        number = pinned_number(run.dag_id or "")
        dag_id = current.dag_id if number is None else pinned_dag_id(current.dag_id, number)
        found = await self._runs.find(dag_id, run_id)
        if found is not None:
            return found
        if current.archived:
            # Airflow may not have loaded the DAG without its schedule yet, and its own button is still there.
            raise not_found("published workflow", request.workflow_id)
        if run.scheduled and await self._pauses.holds(current.agent_id):
            raise Problem(409, "paused", f"Workflow {request.workflow_id!r} or its organisation is paused.")
        version = await self._version(current.agent_id, request, number)
        # Several units may come at once; the second looks again once the first is done.
        await self._runs.lock(version.dag_id, run_id)
        return await self._runs.find(version.dag_id, run_id) or await self._make(version, run_id, request, run)

    async def _version(self, agent_id: UUID, request: LeaseRequest, number: int | None) -> PublishedVersion:
        if number is None:
            version = await self._workflows.by_digest(agent_id, request.plan_digest)
        else:
            pinned = await self._workflows.of_number(agent_id, number)
            version = pinned.pinned() if pinned else None
        if version is None or version.plan_digest != request.plan_digest:
            detail = f"No version of workflow {request.workflow_id!r} has the plan {request.plan_digest[:12]!r}."
            raise Problem(409, "plan_mismatch", detail)
        return version

    async def _make(self, version: PublishedVersion, run_id: str, request: LeaseRequest, run: RunStart) -> UUID:
        loaded = await self._plans.load(self._session, self._organization_id, version.plan_digest)
        if any(unit.upstream for unit in loaded.plan.units if unit.id == request.unit):
            # The units before this one found a pause that has ended since.
            raise Problem(409, "not_begun", f"Run {run_id!r} has no execution; a later unit cannot begin one.")
        beginning = await self._beginning(loaded, version.agent_id, run)
        execution_id = await self._acceptance.accept_run(
            version, loaded.plan, input=beginning.input, trigger=beginning.trigger
        )
        await self._runs.add(version.dag_id, run_id, execution_id, request.clear_number)
        if beginning.error is not None:
            await self._refuse(execution_id, loaded.plan, beginning.error)
        return execution_id

    async def _refuse(self, execution_id: UUID, plan: Plan, error: dict[str, str]) -> None:
        """End an execution that cannot begin; as of any other that fails, its error workflow hears of it."""
        cancelled = [StepRecord(id=step.id, status="cancelled") for step in plan.steps]
        await JournalRepository(self._session, self._organization_id, execution_id).write(0, cancelled, replace=False)
        row = await self._executions.lock(execution_id)
        assert row is not None, "it was just stored"
        await self._acceptance.ending().end(row, "failed", error=error)

    async def beginning(self, agent_id: UUID, request: LeaseRequest) -> Beginning | None:
        """Look anew at what a refused run begins with; None where that cannot be told."""
        version = await self._workflows.by_digest(agent_id, request.plan_digest)
        if version is None or request.run is None:
            return None
        loaded = await self._plans.load(self._session, self._organization_id, version.plan_digest)
        return await self._beginning(loaded, agent_id, request.run)

    async def _beginning(self, loaded: LoadedPlan, agent_id: UUID, run: RunStart) -> Beginning:
        schedule = due_schedule(loaded.plan, run.due_at) if run.scheduled else None
        trigger = schedule_trigger(run.due_at) if run.scheduled else MANUAL_TRIGGER
        value = schedule.get("input") if schedule is not None else {}
        if run.input_id is not None:
            prepared = await self._prepared(agent_id, run.input_id)
            if prepared is None:
                message = f"`input_id` must name a prepared input of this workflow; got {run.input_id!r}."
                return Beginning({}, trigger, {"code": "invalid_input", "message": message})
            value = prepared.value
        try:
            await loaded.check_input(value)
        except Problem as problem:
            return Beginning(value, trigger, {"code": problem.code, "message": problem.detail})
        return Beginning(value, trigger)

    async def _prepared(self, agent_id: UUID, input_id: str) -> Any:
        try:
            identifier = UUID(input_id)
        except ValueError:
            return None
        return await InputRepository(self._session, self._organization_id).get(agent_id, identifier)


def due_schedule(plan: Plan, at: datetime) -> Mapping[str, Any] | None:
    """Return the config of the schedule that a time is one of; None where the plan has no schedule.

    Where several are due then, the first of them; where none is, the one that was due last before it.
    """
    configs = [trigger.config for trigger in plan.triggers if trigger.type == "schedule"]
    if len(configs) < 2:
        return configs[0] if configs else None
    return max(configs, key=lambda config: last_due(str(config["cron"]), str(config["timezone"]), at))


def schedule_trigger(due_at: datetime) -> dict[str, Any]:
    """Return the ``trigger`` of an execution that the clock started; ``scheduled_at`` is ISO 8601, UTC."""
    assert isinstance(MANUAL_TRIGGER, dict)
    return {**MANUAL_TRIGGER, "type": "schedule", "scheduled_at": due_at.astimezone(UTC).isoformat()}
