"""Publishing an agent's draft, looking at its versions, going back to one, archiving it."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from api.agents.diff import diff_workflows
from api.agents.repository import AgentRepository
from api.agents.schemas import AgentView
from api.agents.service import AgentService
from api.agents.version_schemas import VersionList, VersionView
from api.audit.trail import note
from api.auth import Caller
from api.etags import require_match
from api.events.repository import SubscriptionRepository
from api.paging import split
from api.problems import Problem, not_found
from api.releases.repository import ArtifactRepository, ReleaseRepository
from api.releases.service import ReleaseService
from api.settings import Settings
from api.workflows.repository import RouteRepository, StoredVersion, VersionRepository, WorkflowRepository
from api.workflows.service import Publication, WorkflowService, Written, compile_source
from compiler.emit import dag_text
from compiler.plan import Plan

LARGEST_NUMBER = 2**31 - 1
DRAFT = "draft"


class VersionService:
    """Versions of the agents of the caller's organisation."""

    def __init__(self, session: AsyncSession, caller: Caller, settings: Settings) -> None:
        self._session = session
        self._caller = caller
        self._settings = settings
        self._agents = AgentService(session, caller)
        self._versions = VersionRepository(session, caller.organization_id)
        self._workflows = WorkflowService(session, caller, settings)

    async def publish(self, agent_id: UUID, given: frozenset[str]) -> Publication:
        """Publish the draft that the caller has seen.

        :raises Problem: 404, 412; 422 with diagnostics; 409 as :meth:`WorkflowService.publish`.
        """
        draft = await self._agents.draft(agent_id)
        require_match(given, draft.tag)
        return await self._publish(agent_id, draft.workflow_id, draft.source, Written(draft.authors))

    async def rollback(self, agent_id: UUID, number: str) -> Publication:
        """Publish an older version's content as a new version.

        :raises Problem: 404; 422 where today's compiler finds errors in it; 409 as :meth:`WorkflowService.publish`.
        """
        agent = await self._agents.show(agent_id)
        version = await self.get(agent_id, number)
        return await self._publish(
            agent_id, agent.workflow_id, version.source, Written(version.authors, restored_from=version.number)
        )

    async def _publish(self, agent_id: UUID, workflow_id: str, source: bytes, written: Written) -> Publication:
        compilation, plan = await compile_source(
            source, workflow_id, self._caller.organization, self._settings.isolation
        )
        return await self._workflows.publish(source, compilation, plan, agent_id=agent_id, written=written)

    async def page(self, agent_id: UUID, *, before: int | None, limit: int) -> VersionList:
        """Return an agent's versions, the newest first.

        :raises Problem: 404.
        """
        await self._agents.show(agent_id)
        found = await self._versions.page(agent_id, before=before, limit=limit + 1)
        rows, more = split(found, limit)
        return VersionList(versions=[show_version(row) for row in rows], next=rows[-1].number if more else None)

    async def get(self, agent_id: UUID, number: str) -> StoredVersion:
        """Return a version with its source.

        :raises Problem: 404.
        """
        known = number.isascii() and number.isdecimal() and len(number) <= 10 and int(number) <= LARGEST_NUMBER
        found = await self._versions.get(agent_id, int(number)) if known else None
        if found is None:
            raise not_found("version of this agent", number)
        return found

    async def diff(self, agent_id: UUID, before: str, after: str) -> dict[str, Any]:
        """Return what changed from one version, or the draft, to another.

        :raises Problem: 404.
        """
        old, new = await self._source(agent_id, before), await self._source(agent_id, after)
        # Large ones take a while.
        changes = await asyncio.to_thread(lambda: diff_workflows(orjson.loads(old), orjson.loads(new)))
        return {"agent_id": agent_id, "before": before, "after": after, **changes}

    async def _source(self, agent_id: UUID, which: str) -> bytes:
        if which == DRAFT:
            return (await self._agents.draft(agent_id)).source
        return (await self.get(agent_id, which)).source


class ArchiveService:
    """Takes agents of the caller's organisation out of use, and back."""

    def __init__(self, session: AsyncSession, caller: Caller, settings: Settings) -> None:
        self._caller = caller
        self._settings = settings
        organization_id = caller.organization_id
        self._agents = AgentService(session, caller)
        self._rows = AgentRepository(session, organization_id)
        self._versions = VersionRepository(session, organization_id)
        self._current = WorkflowRepository(session, organization_id)
        self._routes = RouteRepository(session, organization_id)
        self._subscriptions = SubscriptionRepository(session, organization_id)
        self._artifacts = ArtifactRepository(session, organization_id)
        self._lock = ReleaseRepository(session)
        self._releases = ReleaseService(session)
        self._workflows = WorkflowService(session, caller, settings)

    async def archive(self, agent_id: UUID) -> tuple[AgentView, bool]:
        """Have nothing start an agent any more; return it, and whether Airflow has something new to load.

        Its webhook paths are free for others, its schedule is gone. What was accepted before runs to its end. An
        archived one stays as it is.

        :raises Problem: 404; 409 for one that was never published.
        """
        await self._lock.lock()
        agent = await self._agents.lock(agent_id)
        version = await self._current.current(agent.workflow_id)
        if version is None:
            detail = "Only a published agent can be archived; this one never was. Delete it instead."
            raise Problem(409, "agent_not_published", detail)
        if version.archived:
            return await self._agents.show(agent_id), False
        note(before={"archived": False}, after={"archived": True})
        await self._rows.archive(agent_id, archived=True)
        await self._routes.clear(agent_id)
        await self._subscriptions.replace(agent_id, [])
        content = await self._artifacts.content(version.plan_digest)
        assert content is not None, "the current version's plan is in the release"
        has_new = await self._unschedule(Plan.from_bytes(content), version.plan_digest)
        return await self._agents.show(agent_id), has_new

    async def _unschedule(self, plan: Plan, digest: str) -> bool:
        """Put a DAG without its schedule into the release.

        The DAG itself stays: the scheduler lets every run of a DAG that is gone lie.
        """
        if all(trigger.type != "schedule" for trigger in plan.triggers):
            return False
        others = tuple(trigger for trigger in plan.triggers if trigger.type != "schedule")
        text = dag_text(plan.model_copy(update={"triggers": others}), digest).encode()
        await self._artifacts.add(text)
        await self._releases.make(self._caller.organization_id, {f"{plan.dag_id}.py": text})
        return True

    async def unarchive(self, agent_id: UUID) -> AgentView:
        """Put an archived agent back into use, with its newest version.

        :raises Problem: 404; 409 where it is not archived, or another one has its webhook path now; 422 where today's
            compiler finds errors in it.
        """
        await self._lock.lock()
        agent = await self._agents.lock(agent_id)
        if agent.archived_at is None:
            raise Problem(409, "agent_not_archived", "Only an archived agent can be unarchived; this one is not.")
        newest = await self._versions.newest(agent_id)
        assert newest is not None, "only what is published is archived"
        compilation, plan = await compile_source(
            newest.source, agent.workflow_id, self._caller.organization, self._settings.isolation
        )
        note(before={"archived": True}, after={"archived": False})
        await self._rows.archive(agent_id, archived=False)
        await self._workflows.reopen(newest, newest.source, compilation, plan)
        return await self._agents.show(agent_id)


def show_version(version: StoredVersion) -> VersionView:
    """Return what callers see of a version."""
    return VersionView(
        number=version.number,
        label=version.label,
        digest=version.plan_digest,
        source_digest=version.source_digest,
        created_at=version.created_at,
        created_by=version.created_by,
        restored_from=version.restored_from,
    )
