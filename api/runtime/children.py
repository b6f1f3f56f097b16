"""Executions that ``workflow`` steps start."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api.executions.acceptance import Acceptance
from api.executions.repository import ENDED, ExecutionRepository, Origin
from api.models import WorkflowExecution
from api.pins.service import PinService
from api.problems import Problem, not_found
from api.runtime.repository import FoundExecution, find_execution
from api.settings import Settings
from api.workflows.plans import PlanCache
from operators.execution.calls import CALL_TRIGGER, call_refusal, unknown_version, unknown_workflow
from operators.execution.records import ChildRequest, ChildState, StepError


class ChildService:
    """Children of one execution, in its organisation. Made by :meth:`open`."""

    def __init__(self, session: AsyncSession, parent: FoundExecution, settings: Settings, plans: PlanCache) -> None:
        self._parent = parent.row
        self._executions = ExecutionRepository(session, parent.row.organization_id)
        self._pins = PinService(session, parent.row.organization_id)
        self._acceptance = Acceptance(session, parent.row.organization_id, settings, plans)

    @classmethod
    async def open(
        cls, session: AsyncSession, execution_id: UUID, settings: Settings, plans: PlanCache
    ) -> ChildService:
        """Find the parent. Its row is left to others: accepting a child may have to lock executions.

        :raises Problem: 404.
        """
        parent = await find_execution(session, execution_id)
        if parent is None:
            raise not_found("execution", execution_id)
        return cls(session, parent, settings, plans)

    async def start(self, request: ChildRequest) -> ChildState:
        """Start a child, or show the one of this key. What is in the way is answered as ``refused``.

        :raises Problem: 410 where the parent has ended.
        """
        key = f"{self._parent.id}/{request.key}"
        await self._executions.lock_caller(key)
        child = await self._executions.of_caller(key)
        if child is not None:
            return _state(child)
        if self._parent.status in ENDED:
            detail = f"The execution has ended: {self._parent.status}."
            raise Problem(410, "execution_ended", detail, execution_status=self._parent.status)
        callers = await self._executions.callers(self._parent.id)
        if (refused := call_refusal(callers, request.workflow_id)) is not None:
            return ChildState(refused=refused)
        pinned = None
        if request.version is not None:
            pinned = await self._pins.find(self._parent.version_id, request.workflow_id, request.version)
            if pinned is None:
                found = "none was published when the calling workflow was"
                return ChildState(refused=unknown_version(request.workflow_id, request.version, found))
        parent = None if request.detached else self._parent.id
        environment = self._parent.environment
        origin = Origin(depth=self._parent.depth + 1, parent=parent, caller=key, environment=environment)
        try:
            accepted = await self._acceptance.accept(
                request.workflow_id, input=request.input, trigger=CALL_TRIGGER, origin=origin, pinned=pinned
            )
        except Problem as problem:
            return ChildState(refused=_refusal(problem, request.workflow_id))
        child = await self._executions.get(accepted.execution_id)
        assert child is not None, "it was just stored"
        return _state(child)

    async def cancel(self, child_id: UUID) -> None:
        """Cancel a child; whatever is no unfinished child of this execution stays as it is."""
        if child_id in await self._executions.unfinished_children(self._parent.id):
            row = await self._executions.lock(child_id)
            if row is not None:
                await self._acceptance.ending().cancel(row)


def _state(row: WorkflowExecution) -> ChildState:
    return ChildState.model_validate(
        {
            "execution_id": str(row.id),
            "status": row.status,
            "output": row.output,
            "output_ref": row.output_ref,
            "error": row.error,
            "accepted_at": row.accepted_at,
        }
    )


def _refusal(problem: Problem, workflow_id: str) -> StepError:
    if problem.status == 404:
        return unknown_workflow(workflow_id)
    return StepError(code=problem.code, message=f"workflow {workflow_id!r}: {problem.detail}")
