"""Plans by digest, read once a process: a digest's plan never changes."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession

from api.problems import Problem
from api.releases.repository import ArtifactRepository
from compiler.diagnostics import pointer
from compiler.matching import MAX_STEPS, BoundedValidator, Mismatch, TooMuchWorkError, UncheckableError
from compiler.plan import Plan

SHOWN_MISMATCHES = 20
STEPS_AT_ONCE = 2_000
"""Of checking an input: about ten milliseconds, in which nobody else is served."""
CACHED_PLANS = 256
CACHED_BYTES = 16_000_000
"""Of their JSON; read, a plan takes about five times as much."""


@dataclass(frozen=True)
class LoadedPlan:
    """A plan and what checks its input."""

    plan: Plan

    @cached_property
    def _validator(self) -> BoundedValidator:
        return BoundedValidator(True if self.plan.input_schema is None else self.plan.input_schema)

    async def check_input(self, value: Any) -> None:
        """Check an execution's input against the workflow's schema.

        :raises Problem: 422, with the first errors and where they are.
        """
        try:
            found = await self._mismatches(value)
        except UncheckableError as error:
            detail = f"The input cannot be checked by the workflow's schema: {error}."
            raise Problem(422, "invalid_input", detail) from error
        errors = [{"pointer": pointer(path), "message": message[:500]} for path, message in found]
        if errors:
            detail = f"The input does not fit the workflow's schema: {errors[0]['pointer']}: {errors[0]['message']}."
            raise Problem(422, "invalid_input", detail, errors=errors)

    async def _mismatches(self, value: Any) -> list[Mismatch]:
        try:
            return self._validator.mismatches(value, SHOWN_MISMATCHES, STEPS_AT_ONCE)
        except TooMuchWorkError:
            # Beside the others: a thread gives way every few milliseconds.
            return await asyncio.to_thread(self._validator.mismatches, value, SHOWN_MISMATCHES, MAX_STEPS)


class PlanCache:
    """The plans that were used last. One a process; keyed by organisation, so that no tenant reads another's.

    What is known by its digest never changes, so nothing in it becomes wrong.

    :param most: Plans.
    :param most_bytes: Of their JSON together. A larger plan is read each time.
    """

    def __init__(self, most: int = CACHED_PLANS, most_bytes: int = CACHED_BYTES) -> None:
        self._plans: OrderedDict[tuple[UUID, str], tuple[LoadedPlan, int]] = OrderedDict()
        self._most, self._most_bytes = most, most_bytes
        self._bytes = 0

    async def load(self, session: AsyncSession, organization_id: UUID, digest: str) -> LoadedPlan:
        """Return a published plan."""
        key = (organization_id, digest)
        if key in self._plans:
            self._plans.move_to_end(key)
            return self._plans[key][0]
        content = await ArtifactRepository(session, organization_id).content(digest)
        assert content is not None, "a version's plan is stored with it"
        loaded = LoadedPlan(Plan.from_bytes(content))
        self._keep(key, loaded, len(content))
        return loaded

    def _keep(self, key: tuple[UUID, str], loaded: LoadedPlan, size: int) -> None:
        # Somebody else may have loaded it meanwhile.
        self._bytes += size - self._plans.pop(key, (loaded, 0))[1]
        self._plans[key] = (loaded, size)
        while len(self._plans) > self._most or self._bytes > self._most_bytes:
            self._bytes -= self._plans.popitem(last=False)[1][1]


async def get_plans(request: Request) -> PlanCache:
    """Return the application's plans."""
    plans = request.app.state.plans
    assert isinstance(plans, PlanCache)
    return plans


PlansDep = Annotated[PlanCache, Depends(get_plans)]
