"""What a waiting step hears."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api.approvals.service import ApprovalService
from api.executions.repository import ExecutionRepository
from api.problems import not_found
from api.runtime.repository import find_organization
from api.settings import Settings
from operators.execution.records import News


async def find_news(session: AsyncSession, settings: Settings, execution_id: UUID, awaited: UUID | None) -> News:
    """Return what there is to tell now.

    :param awaited: An execution or an approval of the same organisation that is waited for.
    :raises Problem: 404.
    """
    organization_id = await find_organization(session, execution_id)
    if organization_id is None:
        raise not_found("execution", execution_id)
    executions = ExecutionRepository(session, organization_id)
    outcome = await executions.outcome(execution_id)
    halted = outcome is None or outcome.ended or outcome.halted
    done = False
    if awaited is not None:
        other = await executions.outcome(awaited)
        approvals = ApprovalService(session, organization_id, settings)
        done = other.ended if other is not None else await approvals.is_decided(awaited)
    return News(halted=halted, done=done, now=await executions.now())
