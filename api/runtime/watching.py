"""What a waiting step hears."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api.executions.repository import ExecutionRepository
from api.problems import not_found
from api.runtime.repository import find_organization
from operators.execution.records import News


async def find_news(session: AsyncSession, execution_id: UUID, awaited: UUID | None) -> News:
    """Return what there is to tell now.

    :param awaited: An execution of the same organisation that is waited for.
    :raises Problem: 404.
    """
    organization_id = await find_organization(session, execution_id)
    if organization_id is None:
        raise not_found("execution", execution_id)
    executions = ExecutionRepository(session, organization_id)
    outcome = await executions.outcome(execution_id)
    other = None if awaited is None else await executions.outcome(awaited)
    halted = outcome is None or outcome.ended or outcome.halted
    return News(halted=halted, done=other is not None and other.ended)
