"""Templates: looking at them, making own ones, making agents from them."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api.actors import actor
from api.agents.schemas import AgentCreate, AgentView
from api.agents.service import AgentService, identifier_of
from api.agents.versions import VersionService
from api.audit.trail import note
from api.auth import Caller
from api.etags import require_match
from api.ids import parse_id
from api.paging import split
from api.problems import Problem, not_found
from api.settings import Settings
from api.templates.contents import Template, check_template, own, public, view_of_own, view_of_public
from api.templates.library import TEMPLATES
from api.templates.repository import TemplateRepository
from api.templates.scaffolding import scaffold
from api.templates.schemas import (
    Source,
    TemplateCreate,
    TemplateFields,
    TemplateList,
    TemplateUpdate,
    TemplateUse,
    TemplateView,
)

_FIELDS = frozenset(TemplateFields.model_fields)


class TemplateService:
    """Templates of the caller's organisation, and the public ones."""

    def __init__(self, session: AsyncSession, caller: Caller, settings: Settings) -> None:
        self._by = actor(caller)
        self._templates = TemplateRepository(session, caller.organization_id)
        self._agents = AgentService(session, caller)
        self._versions = VersionService(session, caller, settings)

    async def page(
        self,
        *,
        source: Source | None,
        search: str | None,
        category: str | None,
        tag: str | None,
        before: str | None,
        limit: int,
    ) -> TemplateList:
        """Return a page: the own ones, the newest first, then the public ones.

        :param before: The id of the last template of the page before.
        :raises Problem: 422, where ``before`` is no id.
        """
        passed = _passed(before)
        views: list[TemplateView] = []
        if source != "public" and not isinstance(passed, str):
            rows = await self._templates.page(search=search, category=category, tag=tag, before=passed, limit=limit + 1)
            views += [view_of_own(row) for row in rows]
        if source != "own":
            known = list(TEMPLATES)
            rest = known[known.index(passed) + 1 :] if isinstance(passed, str) else known
            fitting = [
                TEMPLATES[each] for each in rest if TEMPLATES[each].fits(search=search, category=category, tag=tag)
            ]
            views += [view_of_public(template) for template in fitting]
        shown, more = split(views, limit)
        return TemplateList(templates=list(shown), next=shown[-1].id if more else None)

    async def get(self, template_id: str) -> Template:
        """Return a template with all that is in it.

        :raises Problem: 404.
        """
        if template_id in TEMPLATES:
            return public(TEMPLATES[template_id])
        return await self._own(parse_id("template", template_id))

    async def create(self, body: TemplateCreate, source: bytes | None) -> Template:
        """Make an own template.

        :param source: The workflow's JSON as it was sent; None where the workflow is to be an agent's.
        :raises Problem: 404 where there is no such agent or version; 409 where the name is taken; 413.
        """
        canvas = body.canvas
        if body.agent_id is not None:
            source, canvas = await self._of_agent(body.agent_id, body.version)
        assert source is not None, "the model requires a workflow or an agent"
        values = body.model_dump(include=set(_FIELDS)) | {"source": source, "canvas": canvas}
        template = await self.add(values)
        note(resource=f"templates/{template.view.id}", after=_state(template))
        return template

    async def add(self, values: dict[str, Any]) -> Template:
        """Make an own template of its columns.

        :raises Problem: 409 where the name is taken; 413.
        """
        check_template(values["source"], values["canvas"], values["input_example"])
        template_id = await self._templates.add(values, self._by)
        if template_id is None:
            raise _taken(values["name"])
        return await self._own(template_id)

    async def update(
        self, template_id: str, body: TemplateUpdate, source: bytes | None, given: frozenset[str]
    ) -> Template:
        """Change an own template that is as the caller has seen it.

        :param source: The workflow's JSON as it was sent; None where it stays.
        :raises Problem: 404, 412, 413; 409 where the name is taken, or the template is public.
        """
        values = body.model_dump(exclude_unset=True, exclude={"workflow"})
        if source is not None:
            values["source"] = source
        before = await self._own(_own_id(template_id), lock=True)
        require_match(given, before.tag)
        after = await self.change(before, values) if values else before
        note(before=_state(before), after=_state(after))
        return after

    async def change(self, before: Template, values: dict[str, Any]) -> Template:
        """Set columns of an own template.

        :raises Problem: 409 where the name is taken; 413.
        """
        check_template(
            values.get("source", before.source),
            values.get("canvas", before.canvas),
            values.get("input_example", before.input_example),
        )
        template_id = UUID(before.view.id)
        if not await self._templates.change(template_id, values, self._by):
            raise _taken(values["name"])
        return await self._own(template_id)

    async def remove(self, template_id: str) -> None:
        """Remove an own template. Agents that were made from it stay.

        :raises Problem: 404; 409 where it is public.
        """
        before = await self._own(_own_id(template_id), lock=True)
        note(before=_state(before))
        await self._templates.remove(UUID(before.view.id))

    async def instantiate(self, template_id: str, body: TemplateUse) -> AgentView:
        """Make an agent with a draft from a template.

        :raises Problem: 404; 409 where the workflow's id is taken; 413.
        """
        template = await self.get(template_id)
        workflow_id = body.workflow_id or identifier_of(body.name)
        # Off the event loop: a large one takes a while.
        source = await asyncio.to_thread(scaffold, template.source, workflow_id, body.name)
        description = template.view.description if body.description is None else body.description
        agent = AgentCreate(name=body.name, description=description, workflow_id=workflow_id, canvas=template.canvas)
        return await self._agents.create(agent, source)

    async def _own(self, template_id: UUID, *, lock: bool = False) -> Template:
        row = await self._templates.get(template_id, lock=lock)
        if row is None:
            raise not_found("template", template_id)
        return own(row)

    async def _of_agent(self, agent_id: UUID, version: int | None) -> tuple[bytes, Any]:
        """Return the workflow and the canvas of an agent's draft, or the workflow of a version."""
        if version is not None:
            return (await self._versions.get(agent_id, str(version))).source, None
        draft = await self._agents.draft(agent_id)
        return draft.source, draft.canvas


def _passed(before: str | None) -> UUID | str | None:
    """Return the id of the last template that was shown; a word where it is public."""
    if before is None or before in TEMPLATES:
        return before
    try:
        return UUID(before)
    except ValueError:
        detail = "`before` must be the `next` of the page before; leave it out to begin anew."
        raise Problem(422, "invalid_cursor", detail) from None


def _own_id(template_id: str) -> UUID:
    """Return the id of a template that may be changed.

    :raises Problem: 404 for what is no id; 409 for a public one.
    """
    if template_id in TEMPLATES:
        detail = (
            f"A public template stays as it is; got {template_id!r}. Make your own of its workflow, and change that."
        )
        raise Problem(409, "public_template", detail)
    return parse_id("template", template_id)


def _taken(name: str) -> Problem:
    detail = f"A template's name must be unique in the organisation; there is one named {name!r} already."
    return Problem(409, "template_name_taken", detail, name=name)


def _state(template: Template) -> list[Any]:
    """Return what the audit log keeps a digest of."""
    return [template.view, template.source, template.canvas, template.input_example]
