"""``/api/v1/dead-letters``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from api.auth import CallerDep, permit
from api.dead_letters.schemas import DeadLetterList, Redelivered, RedeliveryCreate, WorkflowId
from api.dead_letters.service import LARGEST_ID, DeadLetterService
from api.edge import EdgeRoute
from api.problems import not_found
from api.tenancy import Transaction

router = APIRouter(prefix="/api/v1/dead-letters", tags=["dead letters"], route_class=EdgeRoute)


async def _service(session: Transaction, caller: CallerDep) -> DeadLetterService:
    return DeadLetterService(session, caller.organization_id)


Service = Annotated[DeadLetterService, Depends(_service)]


@router.get("", dependencies=[permit("relay:read")])
async def list_dead_letters(
    service: Service,
    workflow_id: WorkflowId | None = None,
    before: Annotated[int | None, Query(ge=0, le=LARGEST_ID, description="The `next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> DeadLetterList:
    """Return the orders to Airflow that the relay gave up, the newest first."""
    return await service.page(workflow_id=workflow_id, before=before, limit=limit)


@router.post("/redeliver", dependencies=[permit("relay:manage")])
async def redeliver_dead_letters(service: Service, body: RedeliveryCreate | None = None) -> Redelivered:
    """Have all delivered again, or those of one workflow; what may not start any more stays dead."""
    return await service.redeliver_all(body.workflow_id if body else None)


@router.post("/{letter_id}/redeliver", dependencies=[permit("relay:manage")])
async def redeliver_dead_letter(letter_id: str, service: Service) -> Redelivered:
    """Have one delivered again: its execution is pending again, its attempts and its age count anew."""
    if not (letter_id.isascii() and letter_id.isdigit()) or len(letter_id) > len(str(LARGEST_ID)):
        raise not_found("dead letter", letter_id)
    return await service.redeliver(int(letter_id))
