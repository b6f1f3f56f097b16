"""Running an ended execution again, because somebody asks for it: retry and rerun."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api import notifications
from api.executions.reopening import Reopening
from api.executions.repository import ENDED, ExecutionRepository
from api.executions.schemas import ExecutionRestarted
from api.models import WorkflowExecution
from api.problems import Problem, archived, not_found
from api.settings import Settings
from api.workflows.plans import PlanCache
from api.workflows.repository import WorkflowRepository
from compiler.diagnostics import closest
from compiler.plan import Plan
from compiler.problems import shown
from compiler.validation import did_you_mean


class RestartService:
    """Ended executions of one organisation.

    Each runs again on its own version of the workflow, in its own run in Airflow, which a relay clears. It takes its
    place in the queue of ``settings.concurrency`` like a new one. A parent that once waited for it hears nothing of it.
    """

    def __init__(self, session: AsyncSession, organization_id: UUID, settings: Settings, plans: PlanCache) -> None:
        self._session = session
        self._settings = settings
        self._executions = ExecutionRepository(session, organization_id)
        self._workflows = WorkflowRepository(session, organization_id)
        self._reopening = Reopening(session, organization_id, plans)

    async def retry(self, execution_id: UUID) -> ExecutionRestarted:
        """Have a failed or cancelled execution go on where it failed.

        :raises Problem: 404; 409 where it succeeded, still runs, or its input was refused, or its workflow is archived.
        """
        row = await self._lock_ended(execution_id, "retried")
        if row.status == "success":
            detail = (
                "An execution must have failed or been cancelled to be retried; this one succeeded. "
                f"To do steps of it again: POST /api/v1/executions/{row.id}/rerun?from=STEP."
            )
            raise Problem(409, "execution_succeeded", detail)
        await self._reopening.go_on(row)
        return await self._restart(row)

    async def rerun(self, execution_id: UUID, step_id: str | None) -> ExecutionRestarted:
        """Have an ended execution begin a new epoch from a step on, or from its start.

        :raises Problem: 404; 409 where it still runs, its input was refused, or its workflow is archived; 422 where
            there is no such step.
        """
        row = await self._lock_ended(execution_id, "rerun")
        plan = await self._reopening.plan(row)
        known = [step.id for step in plan.steps]
        if step_id is not None and step_id not in known:
            raise _unknown_step(step_id, plan)
        await self._reopening.begin_epoch(row, known if step_id is None else [step_id])
        return await self._restart(row)

    async def _lock_ended(self, execution_id: UUID, verb: str) -> WorkflowExecution:
        row = await self._executions.lock(execution_id)
        if row is None:
            raise not_found("execution", execution_id)
        if row.status not in ENDED:
            detail = (
                f"An execution must have ended to be {verb}; this one is {row.status}. Wait for its end, or cancel it."
            )
            raise Problem(409, "execution_running", detail)
        if row.was_refused:
            detail = (
                f"An execution must have begun to be {verb}; the input of this one does not fit its workflow. Start a "
                "new one; or clear its run in Airflow, which looks at the input again."
            )
            raise Problem(409, "execution_refused", detail)
        return row

    async def _restart(self, row: WorkflowExecution) -> ExecutionRestarted:
        version = await self._workflows.of_execution(row)
        if version.archived:
            raise archived(version.workflow_id)
        row.relayed_at = None
        await self._executions.restart_run(row.id, version, row.concurrency_key)
        await notifications.notify(self._session, notifications.OUTBOX)
        return ExecutionRestarted(
            execution_id=row.id,
            status="pending",
            epoch=row.epoch,
            url=f"{self._settings.public_url}/api/v1/executions/{row.id}",
        )


def _unknown_step(step_id: str, plan: Plan) -> Problem:
    suggestion = closest(step_id[:100], [step.id for step in plan.steps])
    detail = (
        f"`from` must name a task of the execution's version of {plan.workflow_id!r}, and none inside of a map; "
        f"got {shown(step_id)}.{did_you_mean(suggestion)}"
    )
    return Problem(422, "unknown_task", detail)
