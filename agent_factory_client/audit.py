"""The audit log: who changed what."""

from __future__ import annotations

from collections.abc import Iterator

from agent_factory_client.schemas import AuditEntryView, AuditList
from agent_factory_client.transport import Transport, path

PAGE = 200


class AuditLog:
    """Changes of the caller's organisation. Nothing can be taken out of it."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self,
        *,
        action: str | None = None,
        resource: str | None = None,
        user_id: str | None = None,
        at_from: str | None = None,
        at_before: str | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> AuditList:
        """Return a page of entries, the newest first; ``next`` is the ``cursor`` of the page behind it.

        :param at_from: ISO 8601 with a time zone; so is ``at_before``.
        """
        query = {name: value for name, value in locals().items() if name != "self"}
        return self._transport.json(AuditList, "GET", path("/audit-log"), query=query)

    def each(self, **filters: str) -> Iterator[AuditEntryView]:
        """Yield the entries of :meth:`list` over all pages."""
        cursor = None
        while True:
            page = self.list(**filters, cursor=cursor, limit=PAGE)
            yield from page["entries"]
            cursor = page["next"]
            if cursor is None:
                return
