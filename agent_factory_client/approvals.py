"""Approvals: what waits for a decision of people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from agent_factory_client.schemas import ApprovalList, ApprovalView
from agent_factory_client.transport import Transport, path

PAGE = 200


class Approvals:
    """Approvals of the caller's organisation."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self,
        *,
        status: str | None = None,
        execution_id: str | None = None,
        step_id: str | None = None,
        workflow_id: str | None = None,
        before: str | None = None,
        limit: int | None = None,
    ) -> ApprovalList:
        """Return a page of approvals, the newest first; ``next`` is the ``before`` of the page behind it."""
        query = {name: value for name, value in locals().items() if name != "self"}
        return self._transport.json(ApprovalList, "GET", path("/approvals"), query=query)

    def each(self, *, status: str | None = None) -> Iterator[ApprovalView]:
        """Yield the approvals of :meth:`list` over all pages."""
        before = None
        while True:
            page = self.list(status=status, before=before, limit=PAGE)
            yield from page["approvals"]
            before = page["next"]
            if before is None:
                return

    def show(self, approval_id: str) -> ApprovalView:
        """Return an approval."""
        return self._transport.json(ApprovalView, "GET", path("/approvals/{}", approval_id))

    def decide(
        self,
        approval_id: str,
        decision: Literal["approve", "reject"],
        *,
        comment: str | None = None,
        by: str | None = None,
        via: Literal["api", "cli"] = "api",
    ) -> ApprovalView:
        """Decide an approval.

        :param by: Who decides: one of the assignees, where there are any; without it the caller.
        """
        body = {"decision": decision, "comment": comment, "by": by, "via": via}
        return self._transport.json(ApprovalView, "POST", path("/approvals/{}/decision", approval_id), body=body)
