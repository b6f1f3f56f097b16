"""What a workflow calls: the current versions of others, and of those that they call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api.problems import Problem
from api.releases.repository import ArtifactRepository
from api.workflows.repository import PublishedVersion, WorkflowRepository
from compiler.plan import Plan, every_step

MAX_CALLED = 100


@dataclass(frozen=True)
class Called:
    """A workflow that is called: its current version and plan."""

    version: PublishedVersion
    plan: Plan


def names_called(plan: Plan) -> Iterator[str]:
    """Yield the ids of the workflows that a plan's steps call and that is started when it fails."""
    for step in every_step(plan.steps):
        if step.type == "workflow":
            yield str(step.config["workflow"])
    if plan.error_workflow is not None:
        yield plan.error_workflow


async def find_called(session: AsyncSession, organization_id: UUID, plan: Plan) -> dict[str, Called | None]:
    """Return every workflow that a plan calls, directly or through others; None where none of this id is published.

    :raises Problem: 422, where there are more than ``MAX_CALLED``.
    """
    workflows, artifacts = WorkflowRepository(session, organization_id), ArtifactRepository(session, organization_id)
    found: dict[str, Called | None] = {}
    todo = list(names_called(plan))
    while todo:
        workflow_id = todo.pop()
        if workflow_id in found:
            continue
        if len(found) == MAX_CALLED:
            detail = f"A workflow may call {MAX_CALLED} others, those that they call included; this one calls more."
            raise Problem(422, "too_many_dependencies", detail)
        version = await workflows.current(workflow_id)
        content = await artifacts.content(version.plan_digest) if version else None
        if version is None or version.archived or content is None:
            found[workflow_id] = None
            continue
        called = found[workflow_id] = Called(version, Plan.from_bytes(content))
        todo.extend(names_called(called.plan))
    return found
