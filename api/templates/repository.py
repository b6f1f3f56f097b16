"""SQL of an organisation's own templates."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import any_, delete, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from api.models import AgentTemplate

_now = func.clock_timestamp


class TemplateRepository:
    """Templates of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    async def page(
        self, *, search: str | None, category: str | None, tag: str | None, before: UUID | None, limit: int
    ) -> list[AgentTemplate]:
        """Return templates without their workflows, the newest first.

        :param search: Part of the name or of the description; case does not matter.
        """
        large = (AgentTemplate.source, AgentTemplate.canvas, AgentTemplate.input_example)
        query = (
            select(AgentTemplate)
            .where(AgentTemplate.organization_id == self._organization_id)
            .options(*(defer(column, raiseload=True) for column in large))
            .order_by(AgentTemplate.id.desc())
            .limit(limit)
        )
        if search:
            texts = (AgentTemplate.name, AgentTemplate.description)
            query = query.where(or_(*(text.icontains(search, autoescape=True) for text in texts)))
        if category is not None:
            query = query.where(AgentTemplate.category == category)
        if tag is not None:
            query = query.where(literal(tag) == any_(AgentTemplate.tags))
        if before is not None:
            query = query.where(AgentTemplate.id < before)
        return list(await self._session.scalars(query))

    async def get(self, template_id: UUID, *, lock: bool = False) -> AgentTemplate | None:
        """Return a template.

        :param lock: Whether nobody else may change it before the transaction ends.
        """
        query = select(AgentTemplate).where(
            AgentTemplate.organization_id == self._organization_id, AgentTemplate.id == template_id
        )
        if lock:
            query = query.with_for_update()
        return await self._session.scalar(query.execution_options(populate_existing=True))

    async def named(self, name: str, *, lock: bool = False) -> UUID | None:
        """Return the id of the template with a name.

        :param lock: As of :meth:`get`.
        """
        query = select(AgentTemplate.id).where(
            AgentTemplate.organization_id == self._organization_id, AgentTemplate.name == name
        )
        return await self._session.scalar(query.with_for_update() if lock else query)

    async def add(self, values: dict[str, Any], by: str) -> UUID | None:
        """Store a template; return its id, or None where another one has its name."""
        return await self._session.scalar(
            insert(AgentTemplate)
            .values(organization_id=self._organization_id, revision=1, created_by=by, updated_by=by, **values)
            .on_conflict_do_nothing()
            .returning(AgentTemplate.id)
        )

    async def change(self, template_id: UUID, values: dict[str, Any], by: str) -> bool:
        """Set columns; False where another template has the new name."""
        statement = (
            update(AgentTemplate)
            .where(AgentTemplate.organization_id == self._organization_id, AgentTemplate.id == template_id)
            .values(**values, revision=AgentTemplate.revision + 1, updated_at=_now(), updated_by=by)
        )
        try:
            async with self._session.begin_nested():
                await self._session.execute(statement)
        except IntegrityError:
            return False
        return True

    async def remove(self, template_id: UUID) -> None:
        """Remove a template."""
        await self._session.execute(
            delete(AgentTemplate).where(
                AgentTemplate.organization_id == self._organization_id, AgentTemplate.id == template_id
            )
        )
