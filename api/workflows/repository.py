"""SQL of workflows, their versions and webhook routes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Select, Table, bindparam, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from api.models import Agent, WebhookRoute, WorkflowExecution, WorkflowVersion
from compiler.pins import pinned_dag_id


@dataclass(frozen=True)
class PublishedVersion:
    """A version of a workflow, as far as running it needs.

    ``dag_id`` is the DAG that its runs are of: where ``is_pinned``, its own, else the workflow's. Where ``archived``,
    nothing starts the workflow any more.
    """

    organization_id: UUID
    agent_id: UUID
    version_id: UUID
    workflow_id: str
    number: int
    plan_digest: str
    dag_id: str
    archived: bool
    is_pinned: bool = False

    def pinned(self) -> PublishedVersion:
        """Return the version as calls run it that pin it."""
        return replace(self, dag_id=pinned_dag_id(self.dag_id, self.number), is_pinned=True)


@dataclass(frozen=True)
class NewVersion:
    """What a publish stores. ``created_by`` publishes it, ``authors`` wrote it."""

    label: str
    source: bytes
    plan_digest: str
    dag_digest: str
    dag_id: str
    created_by: str | None = None
    restored_from: int | None = None
    authors: Collection[str] = ()


@dataclass(frozen=True)
class StoredVersion:
    """A version as it was published. ``source`` is the JSON as it was sent; b"" in lists."""

    number: int
    label: str
    source_digest: str
    plan_digest: str
    dag_digest: str
    created_at: datetime
    created_by: str | None
    restored_from: int | None
    authors: list[str]
    source: bytes = b""


@dataclass(frozen=True)
class Route:
    """A webhook route: who serves it and the trigger's config."""

    agent_id: UUID
    workflow_id: str
    method: str
    config: dict[str, Any]


def _versions() -> Select[UUID, UUID, UUID, str, int, str, str, bool]:
    """Select versions with their workflows; callers filter by organisation."""
    return select(
        Agent.organization_id,
        Agent.id,
        WorkflowVersion.id,
        Agent.workflow_id,
        WorkflowVersion.number,
        WorkflowVersion.plan_digest,
        WorkflowVersion.dag_id,
        Agent.archived_at.is_not(None),
    ).join(
        WorkflowVersion,
        (WorkflowVersion.organization_id == Agent.organization_id) & (WorkflowVersion.agent_id == Agent.id),
    )


# Accepting asks these for each request: put together once, and of tables, not classes, for both take longer than
# running them.
_agents, _versions_made, _webhooks = (cast(Table, each.__table__) for each in (Agent, WorkflowVersion, WebhookRoute))
_agent, _version, _route = _agents.c, _versions_made.c, _webhooks.c
_CURRENT = (
    select(
        _agent.organization_id,
        _agent.id,
        _version.id,
        _agent.workflow_id,
        _version.number,
        _version.plan_digest,
        _version.dag_id,
        _agent.archived_at.is_not(None),
    )
    .join_from(
        _agents,
        _versions_made,
        (_version.organization_id == _agent.organization_id) & (_version.agent_id == _agent.id),
    )
    .where(_agent.organization_id == bindparam("organization"), _agent.workflow_id == bindparam("workflow"))
    .order_by(_version.number.desc())
    .limit(1)
)
_ROUTES = (
    select(_route.agent_id, _agent.workflow_id, _route.method, _route.config)
    .join_from(_webhooks, _agents, (_agent.organization_id == _route.organization_id) & (_agent.id == _route.agent_id))
    .where(_route.organization_id == bindparam("organization"), _route.path == bindparam("path"))
    .order_by(_route.method)
)


class WorkflowRepository:
    """Workflows of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    async def ensure(self, workflow_id: str, name: str, by: str | None = None) -> UUID:
        """Return the agent of a workflow; make it if it is new, with the workflow's name."""
        await self._session.execute(
            insert(Agent)
            .values(organization_id=self._organization_id, workflow_id=workflow_id, name=name, created_by=by)
            .on_conflict_do_nothing()
        )
        found = await self.agent_of(workflow_id)
        assert found is not None, "agents with versions are never deleted, others not while something is published"
        return found

    async def agent_of(self, workflow_id: str) -> UUID | None:
        """Return the agent of a workflow."""
        query = select(Agent.id).where(Agent.organization_id == self._organization_id, Agent.workflow_id == workflow_id)
        return await self._session.scalar(query)

    async def current(self, workflow_id: str) -> PublishedVersion | None:
        """Return the version that new executions use."""
        values = {"organization": self._organization_id, "workflow": workflow_id}
        row = (await self._session.execute(_CURRENT, values)).first()
        return PublishedVersion(*row) if row else None

    async def by_id(self, version_id: UUID) -> PublishedVersion | None:
        """Return a version."""
        return await self._first(_versions().where(WorkflowVersion.id == version_id))

    async def pinned(self, version_id: UUID) -> PublishedVersion | None:
        """Return a version as calls run it that pin it."""
        version = await self.by_id(version_id)
        return version.pinned() if version else None

    async def of_number(self, agent_id: UUID, number: int) -> PublishedVersion | None:
        """Return a workflow's version of this number."""
        return await self._first(_versions().where(Agent.id == agent_id, WorkflowVersion.number == number))

    async def of_execution(self, execution: WorkflowExecution) -> PublishedVersion:
        """Return the version of one of the organisation's executions, with the DAG that runs it."""
        version = await self.by_id(execution.version_id)
        assert version is not None, "versions are never deleted"
        return version.pinned() if execution.pinned_dag_id is not None else version

    async def source(self, version_id: UUID) -> bytes:
        """Return a version's JSON as it was sent."""
        query = select(WorkflowVersion.source).where(
            WorkflowVersion.organization_id == self._organization_id, WorkflowVersion.id == version_id
        )
        return (await self._session.execute(query)).scalar_one()

    async def by_digest(self, agent_id: UUID, plan_digest: str) -> PublishedVersion | None:
        """Return the newest version of a workflow that has this plan."""
        return await self._first(
            _versions()
            .where(Agent.id == agent_id, WorkflowVersion.plan_digest == plan_digest)
            .order_by(WorkflowVersion.number.desc())
        )

    async def _first(self, query: Select[UUID, UUID, UUID, str, int, str, str, bool]) -> PublishedVersion | None:
        row = (
            await self._session.execute(query.where(Agent.organization_id == self._organization_id).limit(1))
        ).first()
        return PublishedVersion(*row) if row else None

    async def add_version(self, agent_id: UUID, number: int, version: NewVersion) -> UUID:
        """Store a version; return its id."""
        added = await self._session.execute(
            insert(WorkflowVersion)
            .values(
                organization_id=self._organization_id,
                agent_id=agent_id,
                number=number,
                label=version.label,
                source=version.source,
                plan_digest=version.plan_digest,
                dag_digest=version.dag_digest,
                dag_id=version.dag_id,
                created_by=version.created_by,
                restored_from=version.restored_from,
                authors=sorted(version.authors),
            )
            .returning(WorkflowVersion.id)
        )
        return added.scalar_one()


class VersionRepository:
    """The published versions of one organisation's agents, to look at."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    async def page(self, agent_id: UUID, *, before: int | None, limit: int) -> list[StoredVersion]:
        """Return an agent's versions without their sources, the newest first."""
        query = self._query(agent_id).limit(limit)
        if before is not None:
            query = query.where(WorkflowVersion.number < before)
        return [StoredVersion(*row) for row in await self._session.execute(query)]

    async def get(self, agent_id: UUID, number: int) -> StoredVersion | None:
        """Return a version."""
        return await self._first(self._query(agent_id, source=True).where(WorkflowVersion.number == number))

    async def newest(self, agent_id: UUID) -> StoredVersion | None:
        """Return the newest version."""
        return await self._first(self._query(agent_id, source=True))

    async def _first(self, query: Select[*tuple[Any, ...]]) -> StoredVersion | None:
        row = (await self._session.execute(query.limit(1))).first()
        return StoredVersion(*row) if row else None

    def _query(self, agent_id: UUID, *, source: bool = False) -> Select[*tuple[Any, ...]]:
        return (
            select(
                WorkflowVersion.number,
                WorkflowVersion.label,
                WorkflowVersion.source_digest,
                WorkflowVersion.plan_digest,
                WorkflowVersion.dag_digest,
                WorkflowVersion.created_at,
                WorkflowVersion.created_by,
                WorkflowVersion.restored_from,
                WorkflowVersion.authors,
                *([WorkflowVersion.source] if source else []),
            )
            .where(WorkflowVersion.organization_id == self._organization_id, WorkflowVersion.agent_id == agent_id)
            .order_by(WorkflowVersion.number.desc())
        )


class RouteRepository:
    """Webhook routes of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    async def at(self, path: str) -> list[Route]:
        """Return the routes of a path, one a method, ordered by method."""
        values = {"organization": self._organization_id, "path": path}
        return [Route(*row) for row in await self._session.execute(_ROUTES, values)]

    async def clear(self, agent_id: UUID) -> None:
        """Remove the routes of a workflow."""
        await self._session.execute(
            delete(WebhookRoute).where(
                WebhookRoute.organization_id == self._organization_id, WebhookRoute.agent_id == agent_id
            )
        )

    async def add(self, agent_id: UUID, path: str, method: str, config: dict[str, Any]) -> bool:
        """Store a route; False if another one has this path and method."""
        added = await self._session.execute(
            insert(WebhookRoute)
            .values(organization_id=self._organization_id, agent_id=agent_id, path=path, method=method, config=config)
            .on_conflict_do_nothing()
            .returning(WebhookRoute.path)
        )
        return added.first() is not None
