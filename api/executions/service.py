"""Accepting executions, cancelling them, and looking at them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api.adoption.repository import AdoptedRunRepository
from api.approvals.repository import ApprovalRepository
from api.deliveries.callbacks import call_back
from api.executions.acceptance import Acceptance
from api.executions.inputs import derive_inputs
from api.executions.repository import ExecutionRepository, Origin, Outcome
from api.executions.schemas import ExecutionAccepted, ExecutionCancelled, ExecutionView, Part
from api.executions.view import show_execution, with_inputs, with_parts
from api.idempotency.keys import RequestKey
from api.idempotency.service import IdempotencyService
from api.problems import not_found
from api.runtime.grants import grant_of
from api.runtime.repository import record_of
from api.settings import Settings
from api.variables.schemas import DEFAULT_ENVIRONMENT
from api.workflows.plans import PlanCache
from api.workflows.repository import WorkflowRepository


def parse_execution_id(text: str) -> UUID:
    """Return the id that a URL holds.

    :raises Problem: 404, for no other text can be the id of an execution.
    """
    try:
        return UUID(text)
    except ValueError:
        raise not_found("execution", text) from None


class ExecutionService:
    """Executions of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID, settings: Settings, plans: PlanCache) -> None:
        self._session = session
        self._organization_id = organization_id
        self._settings = settings
        self._plans = plans
        self._executions = ExecutionRepository(session, organization_id)
        self._workflows = WorkflowRepository(session, organization_id)
        self._approvals = ApprovalRepository(session, organization_id)
        self._acceptance = Acceptance(session, organization_id, settings, plans)

    async def accept(
        self,
        workflow_id: str,
        *,
        input: Any,
        trigger: Any,
        keys: Sequence[RequestKey] = (),
        environment: str = DEFAULT_ENVIRONMENT,
        callback_url: str | None = None,
    ) -> ExecutionAccepted:
        """Store an execution of the current version and have Airflow told; see :meth:`Acceptance.accept`.

        :param keys: Of a request that starts nothing if it came before, by any of them.
        :param environment: Whose variables it reads.
        :param callback_url: Where to tell the end, also that of an execution that ``conflict`` answers instead of a new
            one; not where the request came before, for it was noted then.
        :raises Problem: As there; 422 where the key came with another request; 409 where the same one is being
            answered, or what it started is not kept any more.
        """
        known = IdempotencyService(self._session, self._organization_id)
        new: list[RequestKey] = []
        for key in keys:
            before = await known.started_before(key)
            if before is not None:
                answer = await self._acceptance.accepted_before(before.execution_id, before.answer)
                await known.note_all(new, before.execution_id, answer.model_dump_json())
                return answer
            new.append(key)
        origin = Origin(environment=environment)
        accepted = await self._acceptance.accept(workflow_id, input=input, trigger=trigger, origin=origin)
        if callback_url is not None:
            while accepted.existing and await self._has_ended(accepted.execution_id):
                # It ended just now and told whom it knew; so there is room.
                accepted = await self._acceptance.accept(workflow_id, input=input, trigger=trigger, origin=origin)
            await call_back(self._session, self._organization_id, accepted.execution_id, callback_url)
        await known.note_all(new, accepted.execution_id, accepted.model_dump_json())
        return accepted

    async def _has_ended(self, execution_id: UUID) -> bool:
        """Tell whether an execution has ended; if not, it does not before the transaction does."""
        row = await self._executions.lock(execution_id)
        return row is None or row.completed_at is not None

    async def cancel(self, execution_id: UUID) -> ExecutionCancelled:
        """Cancel an execution; an ended one stays as it is.

        :raises Problem: 404.
        """
        row = await self._executions.lock(execution_id)
        if row is None:
            raise not_found("execution", execution_id)
        await self._acceptance.ending().cancel(row)
        return ExecutionCancelled(execution_id=row.id, status=row.status)

    async def outcome(self, execution_id: UUID) -> Outcome:
        """Return how an execution stands.

        :raises Problem: 404.
        """
        outcome = await self._executions.outcome(execution_id)
        if outcome is None:
            raise not_found("execution", execution_id)
        return outcome

    async def show(self, execution_id: UUID, include: Collection[Part] | None = None) -> ExecutionView:
        """Return an execution with its steps.

        :param include: The parts to show; None stands for all but what the steps were given.
        :raises Problem: 404.
        """
        execution = await self._executions.get(execution_id)
        if execution is None:
            raise not_found("execution", execution_id)
        version = await self._workflows.of_execution(execution)
        loaded = await self._plans.load(self._session, self._organization_id, version.plan_digest)
        run_id = await AdoptedRunRepository(self._session, self._organization_id).run_id_of(execution_id)
        journal = await self._executions.steps(execution_id)
        view = show_execution(
            execution,
            version,
            loaded.plan,
            journal,
            await self._executions.running(execution_id),
            await self._approvals.of_steps(execution_id),
            public_url=self._settings.public_url,
            airflow_url=self._settings.airflow_url,
            run_id=run_id or str(execution_id),
        )
        if include is None:
            return view
        if "step_inputs" in include:
            records = {row.step_id: record_of(row) for row in journal}
            grant = grant_of(execution, version, records, self._settings)
            view = with_inputs(view, await asyncio.to_thread(derive_inputs, loaded.plan, grant))
        return with_parts(view, include)
