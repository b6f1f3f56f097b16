"""SQL of prepared inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from api.models import PreparedInput


@dataclass(frozen=True)
class Prepared:
    """A prepared input; its value may be null."""

    value: Any


class InputRepository:
    """Prepared inputs of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    async def add(self, agent_id: UUID, value: Any) -> UUID:
        """Store an input of a workflow; return its id."""
        added = await self._session.execute(
            insert(PreparedInput)
            .values(organization_id=self._organization_id, agent_id=agent_id, input=value)
            .returning(PreparedInput.id)
        )
        return added.scalar_one()

    async def get(self, agent_id: UUID, input_id: UUID) -> Prepared | None:
        """Return an input of a workflow."""
        query = select(PreparedInput.input).where(
            PreparedInput.organization_id == self._organization_id,
            PreparedInput.agent_id == agent_id,
            PreparedInput.id == input_id,
        )
        row = (await self._session.execute(query)).first()
        return Prepared(row[0]) if row else None
