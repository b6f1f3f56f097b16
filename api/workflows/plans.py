"""Plans by digest, read once a process: a digest's plan never changes."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Request
from jsonschema import Draft202012Validator
from referencing import Registry
from sqlalchemy.ext.asyncio import AsyncSession

from api.problems import Problem
from api.releases.repository import ArtifactRepository
from compiler.diagnostics import pointer
from compiler.plan import Plan

CACHED_PLANS = 256


@dataclass(frozen=True)
class LoadedPlan:
    """A plan and what checks its input."""

    plan: Plan

    @cached_property
    def _validator(self) -> Any:
        # An empty registry: a remote $ref is an error, never a request.
        return Draft202012Validator(self.plan.input_schema or True, registry=Registry())

    def check_input(self, value: Any) -> None:
        """Check an execution's input against the workflow's schema.

        :raises Problem: 422, with the first errors and where they are.
        """
        errors = [
            {"pointer": pointer(error.absolute_path), "message": error.message[:500]}
            for error, _ in zip(self._validator.iter_errors(value), range(20), strict=False)
        ]
        if errors:
            detail = f"The input does not fit the workflow's schema: {errors[0]['pointer']}: {errors[0]['message']}."
            raise Problem(422, "invalid_input", detail, errors=errors)


class PlanCache:
    """The plans that were used last. One a process; keyed by organisation, so that no tenant reads another's."""

    def __init__(self) -> None:
        self._plans: OrderedDict[tuple[UUID, str], LoadedPlan] = OrderedDict()

    async def load(self, session: AsyncSession, organization_id: UUID, digest: str) -> LoadedPlan:
        """Return a published plan."""
        key = (organization_id, digest)
        loaded = self._plans.get(key)
        if loaded is None:
            content = await ArtifactRepository(session, organization_id).content(digest)
            assert content is not None, "a version's plan is stored with it"
            loaded = self._plans[key] = LoadedPlan(Plan.from_bytes(content))
            if len(self._plans) > CACHED_PLANS:
                self._plans.popitem(last=False)
        self._plans.move_to_end(key)
        return loaded


def get_plans(request: Request) -> PlanCache:
    """Return the application's plans."""
    plans = request.app.state.plans
    assert isinstance(plans, PlanCache)
    return plans


PlansDep = Annotated[PlanCache, Depends(get_plans)]
