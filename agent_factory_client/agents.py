"""Agents: design, test, publish, compare, roll back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agent_factory_client.events import Event
from agent_factory_client.schemas import (
    AgentList,
    AgentView,
    DraftView,
    Preview,
    Published,
    TrialCreate,
    VersionDetail,
    VersionList,
    WorkflowDiff,
)
from agent_factory_client.transport import Transport, path

PAGE = 100


class Agents:
    """Agents of the caller's organisation.

    A draft has an ``etag``, in :attr:`AgentView.draft`. Given as ``if_match`` it makes a change of what somebody else
    has changed meanwhile fail (412) instead of overwriting it.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self, *, q: str | None = None, status: str | None = None, before: str | None = None, limit: int | None = None
    ) -> AgentList:
        """Return a page of agents, the newest first; ``next`` is the ``before`` of the page behind it.

        :param q: What their names contain.
        """
        query = {"q": q, "status": status, "before": before, "limit": limit}
        return self._transport.json(AgentList, "GET", path("/agents"), query=query)

    def each(self, *, q: str | None = None, status: str | None = None) -> Iterator[AgentView]:
        """Yield the agents of :meth:`list` over all pages."""
        before = None
        while True:
            page = self.list(q=q, status=status, before=before, limit=PAGE)
            yield from page["agents"]
            before = page["next"]
            if before is None:
                return

    def create(
        self,
        name: str,
        *,
        workflow: dict[str, Any] | None = None,
        workflow_id: str | None = None,
        description: str | None = None,
        canvas: dict[str, Any] | None = None,
    ) -> AgentView:
        """Make an agent with a draft."""
        body = {
            "name": name,
            "workflow": workflow,
            "workflow_id": workflow_id,
            "description": description,
            "canvas": canvas,
        }
        given = {name: value for name, value in body.items() if value is not None}
        return self._transport.json(AgentView, "POST", path("/agents"), body=given)

    def show(self, agent_id: str) -> AgentView:
        """Return an agent."""
        return self._transport.json(AgentView, "GET", path("/agents/{}", agent_id))

    def update(self, agent_id: str, **changes: str | None) -> AgentView:
        """Change an agent's ``name`` or ``description``."""
        return self._transport.json(AgentView, "PATCH", path("/agents/{}", agent_id), body=changes)

    def remove(self, agent_id: str) -> None:
        """Remove an agent that was never published; others are archived."""
        self._transport.send("DELETE", path("/agents/{}", agent_id))

    def draft(self, agent_id: str) -> DraftView:
        """Return an agent's draft."""
        return self._transport.json(DraftView, "GET", path("/agents/{}/workflow", agent_id))

    def save_draft(
        self,
        agent_id: str,
        workflow: dict[str, Any],
        *,
        if_match: str,
        canvas: dict[str, Any] | None = None,
    ) -> DraftView:
        """Store a draft, whole: what is left out is gone. It need not be complete.

        :raises ApiError: 412 where it has changed since ``if_match``.
        """
        body = {"workflow": workflow, "canvas": canvas}
        headers = {"if-match": if_match}
        return self._transport.json(DraftView, "PUT", path("/agents/{}/workflow", agent_id), body=body, headers=headers)

    def preview(self, agent_id: str) -> Preview:
        """Say what the draft would become: diagnostics, plan, DAG, and what its model calls may cost."""
        return self._transport.json(Preview, "POST", path("/agents/{}/preview", agent_id))

    def test(self, agent_id: str, trial: TrialCreate) -> Iterator[Event]:
        """Run the draft, or one step of it, without publishing, and yield what its steps do as they do it."""
        with self._transport.events("POST", path("/agents/{}/test", agent_id), body=trial) as events:
            yield from events

    def publish(self, agent_id: str, *, if_match: str) -> Published:
        """Publish the draft as a new version.

        :raises ApiError: 422 with ``problem["diagnostics"]``; 412 where the draft has changed since ``if_match``.
        """
        headers = {"if-match": if_match}
        return self._transport.json(Published, "POST", path("/agents/{}/publish", agent_id), headers=headers)

    def versions(self, agent_id: str, *, before: int | None = None, limit: int | None = None) -> VersionList:
        """Return a page of an agent's versions, the newest first."""
        query = {"before": before, "limit": limit}
        return self._transport.json(VersionList, "GET", path("/agents/{}/versions", agent_id), query=query)

    def version(self, agent_id: str, number: int) -> VersionDetail:
        """Return a version with its workflow."""
        return self._transport.json(VersionDetail, "GET", path("/agents/{}/versions/{}", agent_id, number))

    def diff(self, agent_id: str, before: str, after: str) -> WorkflowDiff:
        """Return what changed between two versions, or a version and the ``draft``."""
        query = {"from": before, "to": after}
        return self._transport.json(WorkflowDiff, "GET", path("/agents/{}/diff", agent_id), query=query)

    def rollback(self, agent_id: str, number: int) -> Published:
        """Publish an older version again, as a new one."""
        return self._transport.json(Published, "POST", path("/agents/{}/versions/{}/rollback", agent_id, number))

    def archive(self, agent_id: str) -> AgentView:
        """Have nothing start an agent any more."""
        return self._transport.json(AgentView, "POST", path("/agents/{}/archive", agent_id))

    def unarchive(self, agent_id: str) -> AgentView:
        """Take an agent back from the archive."""
        return self._transport.json(AgentView, "POST", path("/agents/{}/unarchive", agent_id))
