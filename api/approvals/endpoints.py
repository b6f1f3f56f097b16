"""``/api/v1/approvals``."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from api.approvals.repository import Status
from api.approvals.schemas import ApprovalList, ApprovalView, DecisionCreate
from api.approvals.service import ApprovalService, parse_approval_id
from api.audit.trail import note
from api.auth import CallerDep, SettingsDep, permit
from api.edge import EdgeRoute
from api.problems import Problem
from api.tenancy import Transaction

router = APIRouter(prefix="/api/v1/approvals", tags=["approvals"], route_class=EdgeRoute)


async def _service(session: Transaction, caller: CallerDep, settings: SettingsDep) -> ApprovalService:
    return ApprovalService(session, caller.organization_id, settings)


Service = Annotated[ApprovalService, Depends(_service)]


@router.get("", dependencies=[permit("approval:read")])
async def list_approvals(
    service: Service,
    status: Status | None = None,
    execution_id: UUID | None = None,
    step_id: Annotated[str | None, Query(pattern=r"^[a-z0-9_.\[\]]{1,300}$")] = None,
    workflow_id: Annotated[str | None, Query(pattern=r"^[a-z][a-z0-9_]{0,62}$")] = None,
    before: Annotated[UUID | None, Query(description="The `next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> ApprovalList:
    """Return approvals, the newest first."""
    return await service.page(
        status=status, execution_id=execution_id, step_id=step_id, workflow_id=workflow_id, before=before, limit=limit
    )


@router.get("/{approval_id}", dependencies=[permit("approval:read")])
async def get_approval(approval_id: str, service: Service) -> ApprovalView:
    """Return an approval."""
    return await service.show(parse_approval_id(approval_id))


@router.post("/{approval_id}/decision", dependencies=[permit("approval:answer")])
async def decide_approval(approval_id: str, body: DecisionCreate, caller: CallerDep, service: Service) -> ApprovalView:
    """Decide an approval; the first decision counts. People and API keys decide in their own name: a person's address,
    also of the keys that they made; "api" of those that the operator made."""
    own = caller.email or "api"
    by = body.by or own
    if caller.via != "operator" and by.lower() != own:
        detail = f"`by` must be your own name, {own!r}; only the operator's token decides for others."
        raise Problem(403, "not_yourself", detail)
    view = await service.decide(
        parse_approval_id(approval_id), decision=body.decision, comment=body.comment, by=by, via=body.via
    )
    note(after={"decision": view.decision, "by": view.by})
    return view
