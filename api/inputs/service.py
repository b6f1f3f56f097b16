"""Preparing inputs: checked now, used by any number of runs later."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api.audit.trail import note
from api.inputs.repository import InputRepository
from api.problems import archived, not_found
from api.workflows.plans import PlanCache
from api.workflows.repository import WorkflowRepository


class InputService:
    """Prepared inputs of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID, plans: PlanCache) -> None:
        self._session = session
        self._organization_id = organization_id
        self._plans = plans
        self._inputs = InputRepository(session, organization_id)
        self._workflows = WorkflowRepository(session, organization_id)

    async def prepare(self, workflow_id: str, value: Any) -> UUID:
        """Store an input that fits the current version of a workflow; return its id.

        :raises Problem: 404 where nothing of this id is published, 409 where it is archived,
            422 where the input does not fit.
        """
        version = await self._workflows.current(workflow_id)
        if version is None:
            raise not_found("published workflow", workflow_id)
        if version.archived:
            raise archived(workflow_id)
        loaded = await self._plans.load(self._session, self._organization_id, version.plan_digest)
        await loaded.check_input(value)
        input_id = await self._inputs.add(version.agent_id, value)
        note(resource=f"inputs/{input_id}")
        return input_id
