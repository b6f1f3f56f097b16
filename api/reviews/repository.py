"""SQL of reviews and of whether an organisation requires them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from api.models import Organization, PublishReview

_now = func.clock_timestamp


class ReviewRepository:
    """Reviews of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    async def is_required(self) -> bool:
        """Tell whether the organisation's versions need an approval."""
        query = select(Organization.review_required).where(Organization.id == self._organization_id)
        return bool(await self._session.scalar(query))

    async def require(self, required: bool) -> None:
        """Say whether the organisation's versions need an approval."""
        await self._session.execute(
            update(Organization).where(Organization.id == self._organization_id).values(review_required=required)
        )

    async def is_approved(self, digest: str) -> bool:
        """Tell whether somebody approved of a digest, and nobody rejected it since."""
        query = (
            select(PublishReview.decision)
            .where(
                PublishReview.organization_id == self._organization_id,
                PublishReview.digest == digest,
                PublishReview.decision.is_not(None),
            )
            .order_by(PublishReview.decided_at.desc())
            .limit(1)
        )
        return await self._session.scalar(query) == "approve"

    async def has_approval(self, agent_id: UUID) -> bool:
        """Tell whether anything of an agent was ever approved."""
        approval = exists().where(
            PublishReview.organization_id == self._organization_id,
            PublishReview.agent_id == agent_id,
            PublishReview.decision == "approve",
        )
        return bool(await self._session.scalar(select(approval)))

    async def add(
        self, agent_id: UUID, *, digest: str, subject: Any, source: bytes, author: str | None, by: str
    ) -> UUID:
        """Store a request for a review; return its id."""
        statement = (
            insert(PublishReview)
            .values(
                organization_id=self._organization_id,
                agent_id=agent_id,
                digest=digest,
                subject=subject,
                source=source,
                author=author,
                requested_by=by,
            )
            .returning(PublishReview.id)
        )
        return (await self._session.execute(statement)).scalar_one()

    async def find(self, review_id: UUID, *, lock: bool = False) -> PublishReview | None:
        """Return a review."""
        query = select(PublishReview).where(
            PublishReview.organization_id == self._organization_id, PublishReview.id == review_id
        )
        query = query.with_for_update() if lock else query
        return await self._session.scalar(query.execution_options(populate_existing=True))

    async def page(
        self, *, agent_id: UUID | None, open_only: bool, before: UUID | None, limit: int
    ) -> list[PublishReview]:
        """Return reviews, the newest first."""
        query = (
            select(PublishReview)
            .where(PublishReview.organization_id == self._organization_id)
            .order_by(PublishReview.id.desc())
            .limit(limit)
        )
        if agent_id is not None:
            query = query.where(PublishReview.agent_id == agent_id)
        if open_only:
            query = query.where(PublishReview.decision.is_(None))
        if before is not None:
            query = query.where(PublishReview.id < before)
        return list(await self._session.scalars(query))

    async def decide(self, review_id: UUID, *, decision: str, comment: str | None, by: str) -> bool:
        """Store a decision; False where there is one."""
        statement = (
            update(PublishReview)
            .where(
                PublishReview.organization_id == self._organization_id,
                PublishReview.id == review_id,
                PublishReview.decision.is_(None),
            )
            .values(decision=decision, comment=comment, decided_by=by, decided_at=_now())
            .returning(PublishReview.id)
        )
        return (await self._session.execute(statement)).first() is not None
