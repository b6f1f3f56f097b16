"""Accepting executions, and looking at them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api import notifications
from api.approvals.repository import ApprovalRepository
from api.executions.repository import ExecutionRepository, Outcome
from api.executions.schemas import ExecutionAccepted, ExecutionView
from api.executions.view import show_execution
from api.problems import not_found
from api.settings import Settings
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

    async def accept(self, workflow_id: str, *, input: Any, trigger: Any) -> ExecutionAccepted:
        """Store an execution of the current version and have Airflow told, in one transaction.

        :raises Problem: 404 where nothing of this id is published, 422 where the input does not fit.
        """
        version = await self._workflows.current(workflow_id)
        if version is None:
            raise not_found("published workflow", workflow_id)
        loaded = await self._plans.load(self._session, self._organization_id, version.plan_digest)
        loaded.check_input(input)
        execution_id = await self._executions.add(
            version, input=input, trigger=trigger, timeout_seconds=loaded.plan.timeout_seconds
        )
        await self._executions.add_to_outbox(execution_id, version)
        await notifications.notify(self._session, notifications.OUTBOX)
        return ExecutionAccepted(
            execution_id=execution_id,
            status="pending",
            workflow_id=workflow_id,
            version=version.number,
            url=f"{self._settings.public_url}/api/v1/executions/{execution_id}",
        )

    async def outcome(self, execution_id: UUID) -> Outcome:
        """Return how an execution stands.

        :raises Problem: 404.
        """
        outcome = await self._executions.outcome(execution_id)
        if outcome is None:
            raise not_found("execution", execution_id)
        return outcome

    async def show(self, execution_id: UUID) -> ExecutionView:
        """Return an execution with its steps.

        :raises Problem: 404.
        """
        execution = await self._executions.get(execution_id)
        if execution is None:
            raise not_found("execution", execution_id)
        version = await self._workflows.by_id(execution.version_id)
        assert version is not None, "versions are never deleted"
        loaded = await self._plans.load(self._session, self._organization_id, version.plan_digest)
        return show_execution(
            execution,
            version,
            loaded.plan,
            await self._executions.steps(execution_id),
            await self._executions.running(execution_id),
            await self._approvals.of_steps(execution_id),
            public_url=self._settings.public_url,
            airflow_url=self._settings.airflow_url,
        )
