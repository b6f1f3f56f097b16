"""Pages of executions."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api.executions.listing.repository import ListingRepository
from api.executions.listing.schemas import ExecutionPage
from api.executions.schemas import ExecutionList, ExecutionSummary
from api.pagination import Cursors
from api.problems import Problem
from api.settings import Settings


async def list_executions(
    session: AsyncSession, organization_id: UUID, settings: Settings, asked: ExecutionPage
) -> ExecutionList:
    """Return a page of an organisation's executions, the newest first. A workflow or version that is not there has
    none.

    :raises Problem: 422, for a cursor of another list, or a version without its workflow.
    """
    question = asked.model_dump(mode="json", exclude={"cursor", "limit"})
    cursors = Cursors(settings, organization_id, "executions", question)
    before = None if asked.cursor is None else cursors.read(asked.cursor)
    if asked.version is not None and asked.workflow_id is None:
        detail = "`version` counts the versions of one workflow; give its `workflow_id` too."
        raise Problem(422, "invalid_request", detail)
    listing = ListingRepository(session, organization_id)
    agent_id = version_id = None
    if asked.workflow_id is not None:
        workflow = await listing.workflow(asked.workflow_id, asked.version)
        if workflow is None:
            return ExecutionList(executions=[], next=None)
        agent_id, version_id = workflow
    rows = await listing.page(asked, agent_id=agent_id, version_id=version_id, before=before, limit=asked.limit + 1)
    shown = [_summary(row, settings.public_url) for row in rows[: asked.limit]]
    more = len(rows) > asked.limit
    return ExecutionList(executions=shown, next=cursors.write(shown[-1].execution_id) if more else None)


def _summary(row: Any, public_url: str) -> ExecutionSummary:
    began = row.reopened_at or row.accepted_at
    ended = row.completed_at
    return ExecutionSummary(
        execution_id=row.id,
        workflow_id=row.workflow_id,
        version=row.number,
        status=row.status,
        epoch=row.epoch,
        environment=row.environment,
        trigger=row.trigger_type,
        error_code=row.error_code,
        parent_execution_id=row.parent_execution_id,
        accepted_at=row.accepted_at,
        started_at=row.started_at,
        completed_at=ended,
        duration_ms=round((ended - began).total_seconds() * 1000, 3) if ended else None,
        url=f"{public_url}/api/v1/executions/{row.id}",
    )
