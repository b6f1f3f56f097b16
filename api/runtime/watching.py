"""What a waiting step hears."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api.approvals.service import ApprovalService
from api.executions.repository import ExecutionRepository
from api.problems import not_found
from api.runtime.repository import find_organization
from api.settings import Settings
from operators.execution.records import News


async def find_news(session: AsyncSession, settings: Settings, execution_id: UUID, awaited: Sequence[UUID]) -> News:
    """Return what there is to tell now.

    :param awaited: Executions or approvals of the same organisation that are waited for; one of them is enough.
    :raises Problem: 404.
    """
    organization_id = await find_organization(session, execution_id)
    if organization_id is None:
        raise not_found("execution", execution_id)
    executions = ExecutionRepository(session, organization_id)
    outcome = await executions.outcome(execution_id)
    halted = outcome is None or outcome.ended or outcome.halted
    has_ended = await executions.have_ended(awaited)
    if any(has_ended.values()):
        return News(halted=halted, done=True, now=await executions.now())
    approvals = ApprovalService(session, organization_id, settings)
    for each in awaited:
        if each not in has_ended and await approvals.is_decided(each):
            return News(halted=halted, done=True, now=await executions.now())
    return News(halted=halted, now=await executions.now())
