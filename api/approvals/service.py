"""Asking for decisions, taking them, showing them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api import notifications
from api.approvals.repository import ApprovalRepository, FoundApproval, Status, Via
from api.approvals.schemas import ApprovalList, ApprovalView
from api.problems import Problem, not_found
from api.settings import Settings
from operators.execution.records import ApprovalRequest, ApprovalState, Decision


def parse_approval_id(text: str) -> UUID:
    """Return the id that a URL holds.

    :raises Problem: 404, for no other text can be the id of an approval.
    """
    try:
        return UUID(text)
    except ValueError:
        raise not_found("approval", text) from None


class ApprovalService:
    """Approvals of one organisation. A time-out that has passed is settled whenever somebody looks."""

    def __init__(self, session: AsyncSession, organization_id: UUID, settings: Settings) -> None:
        self._session = session
        self._settings = settings
        self._approvals = ApprovalRepository(session, organization_id)

    async def ask(self, execution_id: UUID, step_id: str, request: ApprovalRequest) -> ApprovalState:
        """Ask, unless it is asked already; return how it stands."""
        approval_id = await self._approvals.ask(execution_id, step_id, request)
        found = await self._look(approval_id)
        row = found.row
        # Not of this one approval: Airflow keeps the address while the step may be asked anew.
        url = f"{self._settings.public_url}/api/v1/approvals?execution_id={execution_id}&step_id={step_id}"
        return ApprovalState.model_validate(
            {
                "id": str(row.id),
                "decision": row.decision,
                "comment": row.comment,
                "by": row.decided_by,
                "at": row.decided_at,
                "seconds_left": found.seconds_left,
                "url": url,
            }
        )

    async def show(self, approval_id: UUID) -> ApprovalView:
        """Return an approval.

        :raises Problem: 404.
        """
        return self._view(await self._look(approval_id))

    async def page(
        self,
        *,
        status: Status | None,
        execution_id: UUID | None,
        step_id: str | None,
        before: UUID | None,
        limit: int,
        workflow_id: str | None = None,
    ) -> ApprovalList:
        """Return a page of approvals, the newest first."""
        await self._settle()
        found = await self._approvals.page(
            status=status,
            execution_id=execution_id,
            step_id=step_id,
            workflow_id=workflow_id,
            before=before,
            limit=limit + 1,
        )
        views = [self._view(each) for each in found[:limit]]
        return ApprovalList(approvals=views, next=views[-1].id if len(found) > limit else None)

    async def decide(
        self, approval_id: UUID, *, decision: Decision, comment: str | None, by: str, via: Via
    ) -> ApprovalView:
        """Take a decision. The first one counts; the same one again is no error.

        :raises Problem: 404; 403 where ``by`` is no assignee; 409 where it was decided before, by somebody or by the
            time-out, or where nobody waits for it.
        """
        found = await self._look(approval_id)
        if found.row.assignees and by not in found.row.assignees:
            detail = "`by` must be one of the approval's assignees; got another. Decide as one of them."
            raise Problem(403, "not_assignee", detail)
        if await self._approvals.decide(approval_id, decision=decision, comment=comment, by=by, via=via):
            await self._notify([approval_id])
            return self._view(await self._look(approval_id))
        found = await self._look(approval_id)
        if (found.row.decision, found.row.decided_by) != (decision, by):
            raise _refusal(found)
        return self._view(found)

    async def answer(self, execution_id: UUID, epoch: int, step_id: str, decision: Decision, by: str) -> str | None:
        """Take a decision that somebody made in Airflow; return the code of the reason why it does not count."""
        approval_id = await self._approvals.current(execution_id, epoch, step_id)
        if approval_id is None:
            return "approval_withdrawn"
        try:
            await self.decide(approval_id, decision=decision, comment=None, by=by, via="airflow")
        except Problem as problem:
            return problem.code
        return None

    async def is_decided(self, approval_id: UUID) -> bool:
        """Tell whether an approval of the organisation is decided; False for one that is not there."""
        await self._settle(approval_id)
        found = await self._approvals.find(approval_id)
        return found is not None and found.status == "decided"

    async def _look(self, approval_id: UUID) -> FoundApproval:
        await self._settle(approval_id)
        found = await self._approvals.find(approval_id)
        if found is None:
            raise not_found("approval", approval_id)
        return found

    async def _settle(self, approval_id: UUID | None = None) -> None:
        await self._notify(await self._approvals.settle_overdue(approval_id))

    async def _notify(self, approval_ids: list[UUID]) -> None:
        for approval_id in approval_ids:
            await notifications.notify(self._session, notifications.EXECUTIONS, str(approval_id))

    def _view(self, found: FoundApproval) -> ApprovalView:
        row = found.row
        shown: dict[str, Any] = {name: getattr(row, name) for name in ApprovalView.model_fields if hasattr(row, name)}
        url = f"{self._settings.public_url}/api/v1/approvals/{row.id}"
        return ApprovalView(**shown, workflow_id=found.workflow_id, status=found.status, by=row.decided_by, url=url)


def _refusal(found: FoundApproval) -> Problem:
    """Return why an answer does not count: who was first and when, or that nobody waits."""
    row = found.row
    if row.decision is None or row.decided_at is None:
        detail = "Nobody waits for this decision any more: its execution has ended or failed, or its step has."
        return Problem(409, "approval_withdrawn", detail)
    at = row.decided_at.isoformat()
    detail = f"The approval was decided before, by {row.decided_by!r} at {at}: {row.decision}."
    return Problem(409, "already_decided", detail, decision=row.decision, by=row.decided_by, at=at)
