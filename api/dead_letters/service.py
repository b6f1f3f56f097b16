"""Showing dead letters and having them delivered again."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api import notifications
from api.dead_letters.repository import DeadLetter, DeadLetterRepository
from api.dead_letters.schemas import DeadLetterList, DeadLetterView, Redelivered
from api.problems import Problem, not_found
from api.workflows.repository import WorkflowRepository

LARGEST_ID = 2**63 - 1


class DeadLetterService:
    """Dead letters of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._letters = DeadLetterRepository(session, organization_id)
        self._workflows = WorkflowRepository(session, organization_id)

    async def page(self, *, workflow_id: str | None, before: int | None, limit: int) -> DeadLetterList:
        """Return a page, the newest first."""
        found = await self._letters.page(workflow_id=workflow_id, before=before, limit=limit + 1)
        more = len(found) > limit
        return DeadLetterList(
            dead_letters=[_show(letter) for letter in found[:limit]], next=found[limit - 1].id if more else None
        )

    async def redeliver(self, letter_id: int) -> Redelivered:
        """Have one delivered again.

        :raises Problem: 404; 409 where its execution may not start any more.
        """
        letter = await self._letters.find(letter_id) if letter_id <= LARGEST_ID else None
        if letter is None:
            raise not_found("dead letter", letter_id)
        if not await self._letters.revive(letter_id):
            # As it is now: it may have been redelivered, or retried, while this one waited.
            now = await self._letters.find(letter_id)
            raise _refusal(now) if now else not_found("dead letter", letter_id)
        await notifications.notify(self._session, notifications.OUTBOX)
        return Redelivered(redelivered=1, refused=0)

    async def redeliver_all(self, workflow_id: str | None) -> Redelivered:
        """Have all delivered again that may be, or those of one workflow.

        :raises Problem: 404 where there is no such workflow.
        """
        if workflow_id is not None and await self._workflows.current(workflow_id) is None:
            raise not_found("published workflow", workflow_id)
        redelivered = await self._letters.revive(workflow_id=workflow_id)
        await notifications.notify(self._session, notifications.OUTBOX)
        return Redelivered(redelivered=redelivered, refused=await self._letters.count(workflow_id))


def _refusal(letter: DeadLetter) -> Problem:
    execution_id = str(letter.execution_id)
    if letter.status == "failed" and letter.parent_execution_id is not None:
        detail = (
            f"Execution {letter.parent_execution_id} waited for this one and was told that it failed; "
            "start that one anew instead."
        )
        return Problem(409, "parent_was_told", detail, execution_id=execution_id)
    detail = (
        "Only an execution that failed with `not_scheduled` can be delivered again; this one went another way "
        f"meanwhile: it is {letter.status!r}."
    )
    return Problem(409, "execution_went_on", detail, execution_id=execution_id)


def _show(letter: DeadLetter) -> DeadLetterView:
    return DeadLetterView(
        id=letter.id,
        execution_id=letter.execution_id,
        workflow_id=letter.workflow_id,
        kind=letter.kind,
        attempts=letter.attempts,
        error=letter.error,
        waiting_since=letter.created_at,
        dead_since=letter.buried_at,
    )
