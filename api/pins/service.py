"""Which versions the calls of a workflow pin, and the DAGs that such versions need."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api.pins.repository import PinRepository
from api.problems import Problem
from api.releases.contents import ArtifactLostProblem
from api.releases.repository import ArtifactRepository
from api.workflows.repository import PublishedVersion, WorkflowRepository
from compiler import compile_workflow
from compiler.diagnostics import Diagnostic
from compiler.emit import emit_pinned
from compiler.pins import Pin, Version, pins_of
from compiler.plan import Plan
from compiler.planning import Isolation


class PinService:
    """Pins of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._pins = PinRepository(session, organization_id)
        self._workflows = WorkflowRepository(session, organization_id)
        self._artifacts = ArtifactRepository(session, organization_id)

    async def resolve(self, plan: Plan) -> dict[tuple[str, Version], UUID]:
        """Return the versions that a workflow's calls pin, by called workflow and what the call names.

        A label stands for the newest version that has it now.

        :raises Problem: 422, with a diagnostic for each call whose version is not there.
        """
        found: dict[tuple[str, Version], UUID] = {}
        missing: list[Diagnostic] = []
        for pin in pins_of(plan):
            version_id = await self._pins.find(pin.workflow_id, pin.version)
            if version_id is None:
                missing.append(await self._missing(pin))
            else:
                found[pin.workflow_id, pin.version] = version_id
        if missing:
            detail = f"The workflow has {len(missing)} error(s); the first: {missing[0].message}"
            diagnostics = [diagnostic.as_json() for diagnostic in missing]
            raise Problem(422, "invalid_workflow", detail, diagnostics=diagnostics)
        return found

    async def _missing(self, pin: Pin) -> Diagnostic:
        known = await self._pins.newest(pin.workflow_id)
        there = ", ".join(f"{version.number} ({version.label[:40]!r})" for version in known)
        got = f"published are {there}" if known else "nothing of this id is published"
        message = (
            f"`version` must be the number or the label of a published version of {pin.workflow_id!r}; "
            f"got {_shown(pin.version)}; {got}."
        )
        return Diagnostic("error", "unknown_version", message, pin.path, pin.task_id)

    async def note(self, caller: UUID, resolved: Mapping[tuple[str, Version], UUID]) -> None:
        """Keep what :meth:`resolve` found for a version, for as long as that is there."""
        for (workflow_id, version), version_id in resolved.items():
            await self._pins.add(caller, workflow_id, version, version_id)

    async def files(self, caller: UUID, organization: str, isolation: Isolation) -> dict[str, bytes]:
        """Return the stored files of the DAGs that a version's calls need, and those that these pin themselves.

        :param caller: The version whose pins were noted.
        :param organization: Slug of the organisation.
        :raises Problem: 409, where the plan of one was removed and cannot be made again as it was.
        """
        files: dict[str, bytes] = {}
        seen = await self._pins.pinned_by(caller)
        todo = list(seen)
        while todo:
            version = await self._workflows.by_id(todo.pop())
            assert version is not None, "versions are never deleted"
            content = await self.plan_of(version, organization, isolation)
            files |= emit_pinned(Plan.from_bytes(content), content, version.number)
            further = await self._pins.pinned_by(version.version_id) - seen
            todo += further
            seen |= further
        for each in files.values():
            await self._artifacts.add(each)
        return files

    async def plan_of(self, version: PublishedVersion, organization: str, isolation: Isolation) -> bytes:
        """Return a version's plan; one that was collected, since nothing used it, or lost is compiled anew."""
        try:
            content = await self._artifacts.content(version.plan_digest)
        except ArtifactLostProblem:
            content = None
        if content is not None:
            return content
        source = await self._workflows.source(version.version_id)
        compilation = await asyncio.to_thread(compile_workflow, source, organization=organization, isolation=isolation)
        if compilation.plan is None or compilation.digest != version.plan_digest:
            detail = (
                f"Version {version.number} of {version.workflow_id!r} was compiled by another Agent Factory, "
                "and its plan is no longer stored. Publish it anew and pin the new version."
            )
            raise Problem(409, "version_not_available", detail)
        return compilation.plan.to_bytes()

    async def find(self, caller: UUID, workflow_id: str, version: Version) -> PublishedVersion | None:
        """Return the version that a call of the version ``caller`` means, with the DAG of its own."""
        version_id = await self._pins.pinned(caller, workflow_id, version)
        return None if version_id is None else await self._workflows.pinned(version_id)


def _shown(version: Version) -> str:
    text = repr(version)
    return text if len(text) <= 60 else text[:57] + "..."
