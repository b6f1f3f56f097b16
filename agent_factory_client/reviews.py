"""Reviews before publish."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from agent_factory_client.schemas import ReviewDetail, ReviewList, ReviewPolicyView, ReviewView
from agent_factory_client.transport import Transport, path

PAGE = 100


class Reviews:
    """Reviews of drafts in the caller's organisation."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def policy(self) -> ReviewPolicyView:
        """Say whether the organisation publishes only what was approved."""
        return self._transport.json(ReviewPolicyView, "GET", path("/reviews/policy"))

    def set_policy(self, required: bool) -> ReviewPolicyView:
        """Set whether the organisation publishes only what was approved."""
        return self._transport.json(ReviewPolicyView, "PUT", path("/reviews/policy"), body={"required": required})

    def request(self, agent_id: str, *, version: int | None = None, note: str | None = None) -> ReviewView:
        """Ask for a review of an agent's draft as it is now, or of an older version that is to be published again."""
        body = {"version": version, "note": note}
        return self._transport.json(ReviewView, "POST", path("/agents/{}/reviews", agent_id), body=body)

    def list(
        self,
        *,
        agent_id: str | None = None,
        status: str | None = None,
        before: str | None = None,
        limit: int | None = None,
    ) -> ReviewList:
        """Return a page of reviews, the newest first; ``next`` is the ``before`` of the page behind it."""
        query = {"agent_id": agent_id, "status": status, "before": before, "limit": limit}
        return self._transport.json(ReviewList, "GET", path("/reviews"), query=query)

    def each(self, *, agent_id: str | None = None, status: str | None = None) -> Iterator[ReviewView]:
        """Yield the reviews of :meth:`list` over all pages."""
        before = None
        while True:
            page = self.list(agent_id=agent_id, status=status, before=before, limit=PAGE)
            yield from page["reviews"]
            before = page["next"]
            if before is None:
                return

    def show(self, review_id: str) -> ReviewDetail:
        """Return a review with what was reviewed."""
        return self._transport.json(ReviewDetail, "GET", path("/reviews/{}", review_id))

    def decide(
        self, review_id: str, decision: Literal["approve", "reject"], fingerprint: str, *, comment: str | None = None
    ) -> ReviewView:
        """Decide a review.

        :param fingerprint: That of the review: it names exactly what was looked at.
        """
        body = {"decision": decision, "fingerprint": fingerprint, "comment": comment}
        return self._transport.json(ReviewView, "POST", path("/reviews/{}/decision", review_id), body=body)
