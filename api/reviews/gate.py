"""Where every publish passes: what an organisation wants approved is approved, exactly as it is now."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api.problems import Problem
from api.reviews.coverage import CoverageReader, fingerprint_of
from api.reviews.repository import ReviewRepository
from compiler.plan import Plan
from compiler.planning import Isolation


class ReviewGate:
    """The gate of one organisation.

    :param organization: Slug of the organisation.
    :param isolation: Where tenant code runs.
    """

    def __init__(self, session: AsyncSession, organization_id: UUID, organization: str, isolation: Isolation) -> None:
        self._reviews = ReviewRepository(session, organization_id)
        self._coverage = CoverageReader(session, organization_id, organization, isolation)

    async def check(self, agent_id: UUID | None, plan: Plan, digest: str) -> None:
        """Let through what may be published. The caller holds the publish lock, so that what it depends on stays.

        :param agent_id: None where there is no agent of the workflow yet.
        :raises Problem: 409, where the organisation asks for a review, and the last one of exactly this plan and of
            what it depends on now is no approval.
        """
        policy = await self._reviews.policy()
        if policy is None or not policy.required:
            return
        fingerprint = fingerprint_of(digest, await self._coverage.read(plan))
        decision = None if agent_id is None else await self._reviews.last_decision(agent_id, fingerprint)
        if decision == "approve":
            return
        reason = "was rejected" if decision else "has no review, or changed since it had one"
        detail = (
            "This organisation publishes only what somebody else than its authors approved, with all that it depends "
            f"on; workflow {plan.workflow_id!r} as it is now {reason}. "
            "Ask for a review with POST /api/v1/agents/{id}/reviews."
        )
        raise Problem(
            409, "review_required", detail, workflow_id=plan.workflow_id, digest=digest, fingerprint=fingerprint
        )
