"""SQL of pins."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import orjson
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from api.models import Agent, VersionPin, WorkflowVersion
from compiler.pins import Version

SHOWN = 20
"""So many versions a message names at most."""


@dataclass(frozen=True)
class Listed:
    """A version as a message names it."""

    number: int
    label: str


class PinRepository:
    """Pins of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    async def find(self, workflow_id: str, version: Version) -> UUID | None:
        """Return the version of this number, or the newest of this label."""
        wanted = WorkflowVersion.number if isinstance(version, int) else WorkflowVersion.label
        query = (
            select(WorkflowVersion.id)
            .join(
                Agent,
                (Agent.organization_id == WorkflowVersion.organization_id) & (Agent.id == WorkflowVersion.agent_id),
            )
            .where(
                WorkflowVersion.organization_id == self._organization_id,
                Agent.workflow_id == workflow_id,
                wanted == version,
            )
            .order_by(WorkflowVersion.number.desc())
            .limit(1)
        )
        return await self._session.scalar(query)

    async def newest(self, workflow_id: str) -> list[Listed]:
        """Return a workflow's newest versions, the newest first."""
        query = (
            select(WorkflowVersion.number, WorkflowVersion.label)
            .join(
                Agent,
                (Agent.organization_id == WorkflowVersion.organization_id) & (Agent.id == WorkflowVersion.agent_id),
            )
            .where(WorkflowVersion.organization_id == self._organization_id, Agent.workflow_id == workflow_id)
            .order_by(WorkflowVersion.number.desc())
            .limit(SHOWN)
        )
        return [Listed(*row) for row in await self._session.execute(query)]

    async def add(self, caller: UUID, workflow_id: str, version: Version, pinned: UUID) -> None:
        """Note which version a call of the version ``caller`` means."""
        await self._session.execute(
            insert(VersionPin).values(
                organization_id=self._organization_id,
                version_id=caller,
                workflow_id=workflow_id,
                reference=_reference(version),
                pinned_version_id=pinned,
            )
        )

    async def pinned(self, caller: UUID, workflow_id: str, version: Version) -> UUID | None:
        """Return the version that a call of the version ``caller`` means."""
        return await self._session.scalar(
            select(VersionPin.pinned_version_id).where(
                VersionPin.organization_id == self._organization_id,
                VersionPin.version_id == caller,
                VersionPin.workflow_id == workflow_id,
                VersionPin.reference == _reference(version),
            )
        )

    async def pinned_by(self, caller: UUID) -> set[UUID]:
        """Return the versions that calls of a version mean."""
        query = select(VersionPin.pinned_version_id).where(
            VersionPin.organization_id == self._organization_id, VersionPin.version_id == caller
        )
        return set(await self._session.scalars(query))


def _reference(version: Version) -> str:
    """Return what a call names as JSON, so that the number 1 and the label "1" differ."""
    return orjson.dumps(version).decode()
