"""SQL of reviews."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Select, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from api.models import Agent, AgentReview, ReviewPolicy
from api.reviews.schemas import ReviewStatus

Found = tuple[AgentReview, str]
"""A review and its agent's workflow id."""
_DECISIONS: dict[ReviewStatus, str] = {"approved": "approve", "rejected": "reject"}


class ReviewRepository:
    """Reviews of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    async def policy(self) -> ReviewPolicy | None:
        """Return the organisation's rule; None where nobody ever set one."""
        query = select(ReviewPolicy).where(ReviewPolicy.organization_id == self._organization_id)
        return await self._session.scalar(query.execution_options(populate_existing=True))

    async def set_policy(self, *, required: bool, by: str) -> None:
        """Set the organisation's rule."""
        values = {"required": required, "changed_at": func.clock_timestamp(), "changed_by": by}
        await self._session.execute(
            insert(ReviewPolicy)
            .values(organization_id=self._organization_id, **values)
            .on_conflict_do_update(index_elements=["organization_id"], set_=values)
        )

    async def add(self, **values: Any) -> UUID:
        """Store a review; return its id."""
        added = await self._session.execute(
            insert(AgentReview).values(organization_id=self._organization_id, **values).returning(AgentReview.id)
        )
        return added.scalar_one()

    async def find(self, review_id: UUID) -> Found | None:
        """Return a review."""
        query = self._query().where(AgentReview.id == review_id).execution_options(populate_existing=True)
        row = (await self._session.execute(query)).first()
        return (row[0], row[1]) if row else None

    async def page(
        self, *, agent_id: UUID | None, status: ReviewStatus | None, before: UUID | None, limit: int
    ) -> list[Found]:
        """Return reviews, the newest first."""
        query = self._query().order_by(AgentReview.id.desc()).limit(limit)
        if agent_id is not None:
            query = query.where(AgentReview.agent_id == agent_id)
        if status is not None:
            query = query.where(AgentReview.decision.is_not_distinct_from(_DECISIONS.get(status)))
        if before is not None:
            query = query.where(AgentReview.id < before)
        return [(row[0], row[1]) for row in await self._session.execute(query)]

    async def decide(
        self, review_id: UUID, *, decision: Literal["approve", "reject"], by: str, comment: str | None
    ) -> bool:
        """Decide a review; False where it is decided already."""
        decided = await self._session.execute(
            update(AgentReview)
            .where(
                AgentReview.organization_id == self._organization_id,
                AgentReview.id == review_id,
                AgentReview.decision.is_(None),
            )
            .values(decision=decision, decided_by=by, decided_at=func.clock_timestamp(), comment=comment)
            .returning(AgentReview.id)
        )
        return decided.first() is not None

    async def last_decision(self, agent_id: UUID, fingerprint: str) -> str | None:
        """Return the last decision about exactly this."""
        query = (
            select(AgentReview.decision)
            .where(
                AgentReview.organization_id == self._organization_id,
                AgentReview.agent_id == agent_id,
                AgentReview.fingerprint == fingerprint,
                AgentReview.decision.is_not(None),
            )
            .order_by(AgentReview.decided_at.desc())
            .limit(1)
        )
        return await self._session.scalar(query)

    def _query(self) -> Select[AgentReview, str]:
        return (
            select(AgentReview, Agent.workflow_id)
            .join(Agent, (Agent.organization_id == AgentReview.organization_id) & (Agent.id == AgentReview.agent_id))
            .where(AgentReview.organization_id == self._organization_id)
        )
