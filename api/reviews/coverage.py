"""What a review covers: the plan, every version that it calls, and the variables that all of them read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from uuid import UUID

import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from api.pins.repository import PinRepository
from api.pins.service import PinService
from api.problems import Problem
from api.reviews.schemas import Coverage, CoveredCall, CoveredVariable
from api.variables.repository import VariableRepository
from api.workflows.dependencies import MAX_CALLED
from api.workflows.repository import PublishedVersion, WorkflowRepository
from compiler.pins import Version
from compiler.plan import Plan, every_step
from compiler.planning import Isolation

Reference = tuple[str, Version | None]
"""A workflow's id, and the version of it that a call pins."""


class CoverageReader:
    """Finds out what workflows of one organisation depend on.

    :param organization: Slug of the organisation.
    :param isolation: Where tenant code runs.
    """

    def __init__(self, session: AsyncSession, organization_id: UUID, organization: str, isolation: Isolation) -> None:
        self._organization = organization
        self._isolation = isolation
        self._pins = PinService(session, organization_id)
        self._pinned = PinRepository(session, organization_id)
        self._workflows = WorkflowRepository(session, organization_id)
        self._variables = VariableRepository(session, organization_id)

    async def read(self, plan: Plan) -> Coverage:
        """Return what a plan depends on, were it published now.

        :raises Problem: 422, where a pinned version is not there, or where more than ``MAX_CALLED`` are called.
        """
        calls: list[CoveredCall] = []
        names = set(plan.vars)
        seen: set[UUID] = set()
        todo: list[tuple[Plan, PublishedVersion | None]] = [(plan, None)]
        pins = await self._pins.resolve(plan)
        while todo:
            calling, caller = todo.pop()
            for reference in sorted(set(_references(calling)), key=repr):
                called = await self._called(reference, caller, pins)
                calls.append(_covered(caller, reference, called))
                if called is None or called.version_id in seen:
                    continue
                seen.add(called.version_id)
                _check_number(seen)
                its_plan = await self._plan_of(called)
                names.update(its_plan.vars)
                todo.append((its_plan, called))
        calls.sort(key=lambda call: orjson.dumps(call.model_dump()))
        return Coverage(calls=calls, variables=await self._read_variables(names))

    async def _called(
        self, reference: Reference, caller: PublishedVersion | None, pins: Mapping[tuple[str, Version], UUID]
    ) -> PublishedVersion | None:
        """Return the version that a call means: by the pins of its caller, or the current one."""
        workflow_id, version = reference
        if version is None:
            return await self._workflows.current(workflow_id)
        if caller is None:
            return await self._workflows.by_id(pins[workflow_id, version])
        version_id = await self._pinned.pinned(caller.version_id, workflow_id, version)
        return None if version_id is None else await self._workflows.by_id(version_id)

    async def _plan_of(self, version: PublishedVersion) -> Plan:
        return Plan.from_bytes(await self._pins.plan_of(version, self._organization, self._isolation))

    async def _read_variables(self, names: set[str]) -> list[CoveredVariable]:
        if not names:
            return []
        return [
            CoveredVariable(
                name=row.name,
                environment=row.environment,
                sha256=None if row.secret else hashlib.sha256(orjson.dumps(row.value)).hexdigest(),
            )
            for row in await self._variables.all(None)
            if row.name in names
        ]


def fingerprint_of(digest: str, coverage: Coverage) -> str:
    """Return the sha256 of a plan's digest and what the plan depends on."""
    covered = {"digest": digest, "covers": coverage.model_dump()}
    return hashlib.sha256(orjson.dumps(covered, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _references(plan: Plan) -> Iterator[Reference]:
    for step in every_step(plan.steps):
        if step.type == "workflow":
            version = step.config.get("version")
            yield str(step.config["workflow"]), version if isinstance(version, str | int) else None
    if plan.error_workflow is not None:
        yield plan.error_workflow, None


def _covered(caller: PublishedVersion | None, reference: Reference, called: PublishedVersion | None) -> CoveredCall:
    return CoveredCall(
        caller=None if caller is None else f"{caller.workflow_id}@{caller.number}",
        workflow_id=reference[0],
        reference=reference[1],
        number=called and called.number,
        digest=called and called.plan_digest,
    )


def _check_number(seen: set[UUID]) -> None:
    if len(seen) > MAX_CALLED:
        detail = f"A workflow may call {MAX_CALLED} others, those that they call included; this one calls more."
        raise Problem(422, "too_many_dependencies", detail)
