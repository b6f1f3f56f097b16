"""Asking for reviews, looking at them, deciding them."""

from __future__ import annotations

from uuid import UUID

import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from api.actors import actor
from api.agents.service import AgentService
from api.agents.versions import VersionService
from api.audit.trail import note
from api.auth import Caller
from api.models import AgentReview
from api.paging import split
from api.problems import Problem, not_found
from api.releases.repository import ReleaseRepository
from api.reviews.coverage import CoverageReader, fingerprint_of
from api.reviews.repository import ReviewRepository
from api.reviews.schemas import (
    Coverage,
    ReviewDecision,
    ReviewList,
    ReviewPolicyView,
    ReviewRequest,
    ReviewStatus,
    ReviewView,
)
from api.settings import Settings
from api.workflows.service import compile_source

_STATUS: dict[str | None, ReviewStatus] = {None: "open", "approve": "approved", "reject": "rejected"}


class ReviewService:
    """Reviews of the caller's organisation."""

    def __init__(self, session: AsyncSession, caller: Caller, settings: Settings) -> None:
        self._caller = caller
        self._settings = settings
        self._by = actor(caller)
        self._reviews = ReviewRepository(session, caller.organization_id)
        self._agents = AgentService(session, caller)
        self._versions = VersionService(session, caller, settings)
        self._coverage = CoverageReader(session, caller.organization_id, caller.organization, settings.isolation)
        self._publishing = ReleaseRepository(session)

    async def policy(self) -> ReviewPolicyView:
        """Return the organisation's rule."""
        row = await self._reviews.policy()
        if row is None:
            return ReviewPolicyView(required=False, changed_at=None, changed_by=None)
        return ReviewPolicyView(required=row.required, changed_at=row.changed_at, changed_by=row.changed_by)

    async def set_policy(self, *, required: bool) -> ReviewPolicyView:
        """Set the organisation's rule. What is being published when it is set is through or stopped, not between."""
        await self._publishing.lock()
        before = await self.policy()
        await self._reviews.set_policy(required=required, by=self._by)
        note(before={"required": before.required}, after={"required": required})
        return await self.policy()

    async def request(self, agent_id: UUID, body: ReviewRequest) -> ReviewView:
        """Ask for a review of a draft, or of a version that is to be published again.

        :raises Problem: 404; 422 with diagnostics, for what could not be published anyway.
        """
        agent = await self._agents.lock(agent_id)
        if body.version is None:
            draft = await self._agents.draft(agent_id)
            source, authors = draft.source, draft.authors
        else:
            version = await self._versions.get(agent_id, str(body.version))
            source, authors = version.source, tuple(version.authors)
        digest, coverage = await self._look_at(source, agent.workflow_id)
        review_id = await self._reviews.add(
            agent_id=agent_id,
            number=body.version,
            source=source,
            plan_digest=digest,
            fingerprint=fingerprint_of(digest, coverage),
            coverage=coverage.model_dump(),
            authors=sorted(authors),
            note=body.note,
            requested_by=self._by,
        )
        note(resource=f"reviews/{review_id}", after={"agent": agent_id, "plan": digest})
        return _show(*await self._find(review_id))

    async def page(
        self, *, agent_id: UUID | None, status: ReviewStatus | None, before: UUID | None, limit: int
    ) -> ReviewList:
        """Return a page, the newest first."""
        found = await self._reviews.page(agent_id=agent_id, status=status, before=before, limit=limit + 1)
        rows, more = split(found, limit)
        return ReviewList(reviews=[_show(*row) for row in rows], next=rows[-1][0].id if more else None)

    async def detail(self, review_id: UUID) -> bytes:
        """Return a review as JSON, with the workflow as it was sent.

        :raises Problem: 404.
        """
        review, workflow_id = await self._find(review_id)
        shown = _show(review, workflow_id).model_dump(mode="json") | {
            "stale": await self._is_stale(review, workflow_id),
            "covers": review.coverage,
            "workflow": orjson.Fragment(review.source),
        }
        return orjson.dumps(shown)

    async def decide(self, review_id: UUID, body: ReviewDecision) -> ReviewView:
        """Decide a review; a decision stays.

        :raises Problem: 404; 403, for an author's own work and for whoever is no person; 409, where it is decided,
            stale, or another one than the caller looked at.
        """
        self._check_person()
        review, workflow_id = await self._find(review_id)
        if body.decision == "approve" and self._by in {*review.authors, review.requested_by}:
            detail = "Somebody else must approve it: you wrote a part of it, or asked for the review."
            raise Problem(403, "own_work", detail)
        if body.fingerprint != review.fingerprint:
            detail = f"`fingerprint` must be that of the review, {review.fingerprint!r}; read the review again."
            raise Problem(409, "other_fingerprint", detail)
        if body.decision == "approve" and await self._is_stale(review, workflow_id):
            detail = "The draft, or what it depends on, changed since this review was asked for; ask for a new one."
            raise Problem(409, "review_stale", detail)
        if not await self._reviews.decide(review_id, decision=body.decision, by=self._by, comment=body.comment):
            raise Problem(409, "already_decided", "This review was decided before, and its decision stays.")
        note(after=body)
        return _show(*await self._find(review_id))

    def _check_person(self) -> None:
        if self._caller.via != "token":
            detail = "A review is decided by a person who is logged in; got an API key or the operator's token."
            raise Problem(403, "login_needed", detail)

    async def _find(self, review_id: UUID) -> tuple[AgentReview, str]:
        found = await self._reviews.find(review_id)
        if found is None:
            raise not_found("review", review_id)
        return found

    async def _is_stale(self, review: AgentReview, workflow_id: str) -> bool:
        """Tell whether what would be published now is another thing than was to be reviewed."""
        source = review.source
        if review.number is None:
            draft = await self._agents.draft(review.agent_id)
            source, workflow_id = draft.source, draft.workflow_id
        try:
            digest, coverage = await self._look_at(source, workflow_id)
        except Problem:  # It cannot be published at all.
            return True
        return fingerprint_of(digest, coverage) != review.fingerprint

    async def _look_at(self, source: bytes, workflow_id: str) -> tuple[str, Coverage]:
        compilation, plan = await compile_source(
            source, workflow_id, self._caller.organization, self._settings.isolation
        )
        return compilation.digest, await self._coverage.read(plan)


def _show(review: AgentReview, workflow_id: str) -> ReviewView:
    return ReviewView(
        id=review.id,
        agent_id=review.agent_id,
        workflow_id=workflow_id,
        version=review.number,
        digest=review.plan_digest,
        fingerprint=review.fingerprint,
        status=_STATUS[review.decision],
        authors=review.authors,
        note=review.note,
        requested_at=review.requested_at,
        requested_by=review.requested_by,
        decided_at=review.decided_at,
        decided_by=review.decided_by,
        comment=review.comment,
    )
