"""Agents and their drafts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from api.actors import actor
from api.agents.repository import AgentRepository, DraftRepository, FoundAgent, Status
from api.agents.schemas import AgentCreate, AgentList, AgentUpdate, AgentView, DraftState
from api.agents.sources import check_sizes, skeleton
from api.audit.trail import note
from api.auth import Caller
from api.etags import quoted, require_match
from api.models import Agent
from api.paging import split
from api.problems import Problem, not_found
from api.releases.repository import ReleaseRepository
from api.subscriptions.events import tell
from api.workflows.repository import VersionRepository
from compiler.fields import is_identifier


@dataclass(frozen=True)
class Draft:
    """A draft; ``tag`` names its state.

    ``author`` is who changed it last, ``authors`` everybody who did since it was last published.
    """

    agent_id: UUID
    workflow_id: str
    source: bytes
    canvas: Any
    tag: str
    revision: int
    updated_at: datetime | None
    author: str | None
    authors: tuple[str, ...] = ()

    def as_json(self) -> bytes:
        """Return what callers see of it, the workflow as it was sent."""
        return orjson.dumps(
            {
                "agent_id": self.agent_id,
                "workflow": orjson.Fragment(self.source),
                "canvas": self.canvas,
                "updated_at": self.updated_at,
                "updated_by": self.author,
            },
            option=orjson.OPT_UTC_Z,
        )


class AgentService:
    """Agents of the caller's organisation."""

    def __init__(self, session: AsyncSession, caller: Caller) -> None:
        self._session = session
        self._organization_id = caller.organization_id
        self._by = actor(caller)
        self._agents = AgentRepository(session, caller.organization_id)
        self._drafts = DraftRepository(session, caller.organization_id)
        self._versions = VersionRepository(session, caller.organization_id)
        self._publishing = ReleaseRepository(session)

    async def create(self, body: AgentCreate, source: bytes | None) -> AgentView:
        """Make an agent with its draft.

        :param source: The workflow's JSON as it was sent.
        :raises Problem: 409 where the workflow's id is taken; 413; 422 where the two ids differ.
        """
        workflow_id = _workflow_id(body)
        agent_id = await self.add(
            workflow_id, body.name, body.description, source or skeleton(workflow_id, body.name), body.canvas
        )
        view = await self.show(agent_id)
        note(resource=f"agents/{agent_id}", after=view)
        return view

    async def add(self, workflow_id: str, name: str, description: str | None, source: bytes, canvas: Any) -> UUID:
        """Make an agent with its draft; return its id.

        :raises Problem: 409 where the workflow's id is taken; 413.
        """
        check_sizes(source, canvas)
        agent_id = await self._agents.add(workflow_id, name, description, self._by)
        if agent_id is None:
            raise _taken(workflow_id)
        await self._drafts.put(agent_id, 1, source, canvas, self._by)
        data = {"agent_id": str(agent_id), "workflow_id": workflow_id}
        await tell(self._session, self._organization_id, "agent.created", f"/api/v1/agents/{agent_id}", data)
        return agent_id

    async def page(self, *, search: str | None, status: Status | None, before: UUID | None, limit: int) -> AgentList:
        """Return a page, the newest first."""
        found = await self._agents.page(search=search, status=status, before=before, limit=limit + 1)
        rows, more = split(found, limit)
        return AgentList(agents=[_show(row) for row in rows], next=rows[-1].id if more else None)

    async def show(self, agent_id: UUID) -> AgentView:
        """Return an agent.

        :raises Problem: 404.
        """
        found = await self._agents.find(agent_id)
        if found is None:
            raise not_found("agent", agent_id)
        return _show(found)

    async def update(self, agent_id: UUID, body: AgentUpdate) -> AgentView:
        """Change an agent's own fields.

        :raises Problem: 404.
        """
        await self.lock(agent_id)
        values = body.model_dump(exclude_unset=True)
        before = await self.show(agent_id)
        if values:
            await self._agents.change(agent_id, values)
        after = await self.show(agent_id)
        note(before=before, after=after)
        return after

    async def remove(self, agent_id: UUID) -> None:
        """Remove an agent that was never published.

        :raises Problem: 404; 409 for one that was: its versions and executions stay.
        """
        await self._publishing.lock()
        await self.lock(agent_id)
        if await self._agents.is_published(agent_id):
            detail = "Only an agent that was never published can be deleted; archive this one instead."
            raise Problem(409, "agent_published", detail)
        note(before=await self.show(agent_id))
        await self._agents.remove(agent_id)

    async def draft(self, agent_id: UUID) -> Draft:
        """Return an agent's draft; of one that has none, its newest version is where the next draft begins.

        :raises Problem: 404.
        """
        found = await self._agents.find(agent_id)
        if found is None:
            raise not_found("agent", agent_id)
        stored = await self._drafts.get(agent_id)
        if stored is not None:
            tag = _tag(stored.revision, stored.source_digest)
            return Draft(
                agent_id,
                found.workflow_id,
                stored.source,
                stored.canvas,
                tag,
                stored.revision,
                stored.updated_at,
                stored.updated_by,
                tuple(stored.authors),
            )
        newest = await self._versions.newest(agent_id)
        assert newest is not None, "an agent has a draft or a version"
        tag = _tag(0, newest.source_digest)
        by, authors = newest.created_by, tuple(newest.authors)
        return Draft(agent_id, found.workflow_id, newest.source, None, tag, 0, newest.created_at, by, authors)

    async def save(
        self, agent_id: UUID, *, source: bytes, document: dict[str, Any], canvas: Any, given: frozenset[str]
    ) -> Draft:
        """Store a draft in the place of the one that the caller has seen.

        An agent that was never published takes the id that its draft has; later the id is fixed.

        :raises Problem: 404, 412, 413; 409 where the id is fixed, or another agent has it.
        """
        check_sizes(source, canvas)
        if document.get("id") != (await self.show(agent_id)).workflow_id:
            # Nothing of the agent is published under the one id while it takes the other.
            await self._publishing.lock()
        agent = await self.lock(agent_id)
        draft = await self.draft(agent_id)
        require_match(given, draft.tag)
        await self._follow(agent, document.get("id"))
        # Who wrote what is published already wrote nothing of the next version.
        others = draft.authors if (await self.show(agent_id)).draft.changed else ()
        await self._drafts.put(agent_id, draft.revision + 1, source, canvas, self._by, others)
        note(before=[draft.source, draft.canvas], after=[source, canvas])
        return await self.draft(agent_id)

    async def lock(self, agent_id: UUID) -> Agent:
        """Return an agent's row, locked.

        :raises Problem: 404.
        """
        agent = await self._agents.lock(agent_id)
        if agent is None:
            raise not_found("agent", agent_id)
        return agent

    async def _follow(self, agent: Agent, workflow_id: object) -> None:
        """Take the id of a draft. One that is missing or none is left to the compiler to complain of."""
        if not isinstance(workflow_id, str) or not is_identifier(workflow_id) or workflow_id == agent.workflow_id:
            return
        if await self._agents.is_published(agent.id):
            detail = (
                f"The id of a published workflow is fixed, for its callers know it by it: {agent.workflow_id!r}; "
                f"got {workflow_id!r}. Keep the id, or create another agent."
            )
            raise Problem(409, "workflow_id_fixed", detail)
        if not await self._agents.change(agent.id, {"workflow_id": workflow_id}):
            raise _taken(workflow_id)


def _taken(workflow_id: str) -> Problem:
    detail = f"A workflow's id must be unique in the organisation; an agent with {workflow_id!r} is there already."
    return Problem(409, "workflow_id_taken", detail, workflow_id=workflow_id)


def _workflow_id(body: AgentCreate) -> str:
    """Return the id of a new agent's workflow.

    :raises Problem: 422, where the body gives two.
    """
    inside = (body.workflow or {}).get("id")
    inside = inside if isinstance(inside, str) and is_identifier(inside) else None
    if body.workflow_id and inside and inside != body.workflow_id:
        detail = f"`workflow_id` must be the id of `workflow`, {inside!r}; got {body.workflow_id!r}. Leave it out."
        raise Problem(422, "workflow_id_mismatch", detail)
    return body.workflow_id or inside or identifier_of(body.name)


def identifier_of(name: str) -> str:
    """Return the id of the workflow of an agent that has a name and no id yet."""
    words = "_".join(re.findall(r"[a-z0-9]+", name.lower()))
    return re.sub(r"^[^a-z]+", "", words)[:63] or "agent"


def _tag(revision: int, digest: str) -> str:
    # The digest too: a draft that came back from a backup may have a known number and other content.
    return f"{revision}-{digest[:12]}"


def _show(found: FoundAgent) -> AgentView:
    has_draft = found.revision is not None and found.draft_digest is not None
    digest = found.draft_digest if has_draft else found.version_digest
    draft = DraftState(
        etag=quoted(_tag(found.revision or 0, digest or "")),
        changed=digest != found.version_digest,
        updated_at=found.draft_updated_at,
        updated_by=found.draft_updated_by,
    )
    shown = {name: getattr(found, name) for name in AgentView.model_fields if name != "draft"}
    return AgentView(**shown, draft=draft)
