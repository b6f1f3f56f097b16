"""Pausing, resuming, and showing what is paused."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api import notifications
from api.audit.trail import note
from api.dead_letters.repository import DeadLetterRepository
from api.pauses.repository import PauseRepository
from api.pauses.schemas import PausedWorkflow, RelayState, WorkflowPause
from api.problems import not_found
from compiler.fields import is_identifier


class PauseService:
    """Pauses of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._pauses = PauseRepository(session, organization_id)
        self._letters = DeadLetterRepository(session, organization_id)

    async def state(self) -> RelayState:
        """Return how the organisation's relay stands."""
        workflows = await self._pauses.paused_workflows()
        return RelayState(
            paused_at=await self._pauses.paused_at(),
            paused_workflows=[PausedWorkflow(workflow_id=name, paused_at=since) for name, since in workflows.items()],
            waiting=await self._pauses.waiting(),
            dead_letters=await self._letters.count(),
        )

    async def pause(self) -> RelayState:
        """Pause the organisation."""
        before = await self._pauses.paused_at()
        await self._pauses.pause()
        state = await self.state()
        note(resource="relay", before=[before], after=[state.paused_at])
        return state

    async def resume(self) -> RelayState:
        """End the organisation's pause."""
        note(resource="relay", before=[await self._pauses.paused_at()], after=[None])
        await self._pauses.resume()
        await notifications.notify(self._session, notifications.OUTBOX)
        return await self.state()

    async def pause_workflow(self, workflow_id: str) -> WorkflowPause:
        """Pause a workflow.

        :raises Problem: 404.
        """
        if not (is_identifier(workflow_id) and await self._pauses.pause_workflow(workflow_id)):
            raise not_found("workflow", workflow_id)
        shown = await self._show(workflow_id)
        note(after=[shown.paused_at])
        return shown

    async def resume_workflow(self, workflow_id: str) -> WorkflowPause:
        """End a workflow's pause.

        :raises Problem: 404.
        """
        if not (is_identifier(workflow_id) and await self._pauses.resume_workflow(workflow_id)):
            raise not_found("workflow", workflow_id)
        await notifications.notify(self._session, notifications.OUTBOX)
        note(after=[None])
        return await self._show(workflow_id)

    async def _show(self, workflow_id: str) -> WorkflowPause:
        return WorkflowPause(workflow_id=workflow_id, paused_at=await self._pauses.workflow_paused_at(workflow_id))
