"""What stands between a compiled workflow and its publication where the organisation requires a review."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Caller
from api.problems import Problem
from api.reviews.repository import ReviewRepository
from api.workflows.dependencies import find_called
from compiler import Compilation
from compiler.plan import Plan


class ReviewGate:
    """Lets through what somebody approved of."""

    def __init__(self, session: AsyncSession, caller: Caller) -> None:
        self._session = session
        self._organization_id = caller.organization_id
        self._reviews = ReviewRepository(session, caller.organization_id)

    async def require_approval(self, source: bytes, compilation: Compilation, plan: Plan) -> None:
        """Check that exactly this was approved, if the organisation requires it.

        :raises Problem: 409, where it was not, or where what it calls has changed since.
        """
        if not await self._reviews.is_required():
            return
        digest = digest_of(await subject_of(self._session, self._organization_id, source, compilation, plan))
        if not await self._reviews.is_approved(digest):
            detail = (
                "The organisation requires that somebody else approves of exactly what is published: this source, what "
                "it compiles to, and the versions of the workflows that it calls. Nobody has, or one of them changed "
                "since. Save it as the agent's draft and ask for a review: POST /api/v1/agents/{id}/reviews."
            )
            raise Problem(409, "review_required", detail, digest=digest)


async def subject_of(
    session: AsyncSession, organization_id: UUID, source: bytes, compilation: Compilation, plan: Plan
) -> dict[str, Any]:
    """Return what a review is about: digests of the source and of the compiler's files, and the versions called."""
    called = await find_called(session, organization_id, plan)
    return {
        "workflow_id": plan.workflow_id,
        "source": _sha256(source),
        "files": {name: _sha256(content) for name, content in sorted(compilation.files.items())},
        "calls": {
            workflow_id: {"version": each.version.number, "plan": each.version.plan_digest} if each else None
            for workflow_id, each in sorted(called.items())
        },
    }


def digest_of(subject: dict[str, Any]) -> str:
    """Return the digest of what a review is about."""
    return _sha256(orjson.dumps(subject, option=orjson.OPT_SORT_KEYS))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
